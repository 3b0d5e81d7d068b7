"""Which variant serves a request."""
