"""Webhooks and server-sent events."""
