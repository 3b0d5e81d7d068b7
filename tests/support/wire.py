"""A bare socket to a server, and a reader of its responses."""

from __future__ import annotations

import socket
from http.client import parse_headers


class Wire:
    """A socket to the server, and a reader of its responses."""

    def __init__(self, server):
        url = server.client.base_url
        self.socket = socket.create_connection((url.host, url.port), timeout=20)
        self.incoming = self.socket.makefile("rb")

    def send(self, data):
        """Send as much as the server accepts: it may have closed the connection."""
        try:
            self.socket.sendall(data)
        except OSError:
            return

    def answer(self):
        """Status, headers and body; None when the server has closed the connection."""
        try:
            line = self.incoming.readline()
        except ConnectionResetError:
            return None
        if not line:
            return None
        headers = parse_headers(self.incoming)
        body = self.incoming.read(int(headers["content-length"]))
        return int(line.split()[1]), headers, body

    def close(self):
        self.incoming.close()
        self.socket.close()
