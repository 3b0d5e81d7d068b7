"""Where the request counts come from: this process, or a Prometheus server."""
