"""Logs and traces: what a person on call reads."""
