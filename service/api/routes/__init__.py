"""One router a file: each route reads a request, calls the service and renders the answer."""
