"""Addresses of servers: what they show, and what they hide."""

from __future__ import annotations

import pytest

from service.settings.urls import HttpUrl


@pytest.mark.parametrize(
    ("text", "address", "credentials"),
    [
        ("http://prometheus:9090", "http://prometheus:9090", None),
        ("HTTP://Prometheus", "http://prometheus", None),
        ("https://u:p@a.example/x", "https://a.example/x", ("u", "p")),
        ("https://u%40x:p%3A@a.example", "https://a.example", ("u@x", "p:")),
        ("https://token@a.example", "https://a.example", ("token", "")),
        ("http://[::1]:9090/x?token=s", "http://[::1]:9090/x", None),
    ],
)
def test_a_url_shows_its_address_without_credentials(text, address, credentials):
    url = HttpUrl(text)
    assert (address, credentials) == (url.address, url.credentials)
    assert address == str(url)
    assert address in repr(url)
    assert text == url.get_secret_value()
