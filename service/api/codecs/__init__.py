"""Bytes of a body to arrays and back; nothing here knows a route."""
