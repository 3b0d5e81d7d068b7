"""The Grafana dashboard as code: `python -m deploy.grafana.build_dashboard`."""
