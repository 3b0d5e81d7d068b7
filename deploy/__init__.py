"""Deployment files: compose, Prometheus and Grafana."""
