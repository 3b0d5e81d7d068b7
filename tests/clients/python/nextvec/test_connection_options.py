"""Arguments, environment and what is sent with a request."""

from __future__ import annotations

import pytest

from nextvec.connection_options import ConnectionOptions
from nextvec.exchange import Call


def options(url=None, api_key=None, token=None, environ=None, **changes):
    values = {"timeout": 30.0, "deadline": 60.0, "max_retries": 8, **changes}
    return ConnectionOptions.from_arguments(url, api_key, token, environ=environ or {}, **values)


def test_arguments_win_over_the_environment():
    environ = {"NEXTVEC_URL": "http://e:1", "NEXTVEC_API_KEY": "ek", "NEXTVEC_TOKEN": "et"}
    given = options("http://a:2", "ak", "at", environ)
    found = options(environ=environ)
    assert ("http://a:2", "ak", "at") == (str(given.url), given.api_key, given.token)
    assert ("http://e:1", "ek", "et") == (str(found.url), found.api_key, found.token)
    assert "http://127.0.0.1:8080" == str(
        options(environ={"NEXTVEC_URL": "", "NEXTVEC_TOKEN": " "}).url
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://s", "http://s/v1/predict"),
        ("http://s/", "http://s/v1/predict"),
        ("https://s:8443/models/", "https://s:8443/models/v1/predict"),
    ],
)
def test_a_path_of_the_address_stays(url, expected):
    assert expected == str(options(url).request(Call("POST", "/v1/predict"))["url"])


@pytest.mark.parametrize(
    "url",
    ["s:80", "ftp://s", "http://", "http://u:secret@s", "http://s?q=1", "http://s#f", "http://s:x"],
)
def test_an_address_that_cannot_be_used_is_refused(url):
    with pytest.raises(ValueError, match="url") as raised:
        options(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("secret", ["a b", "ä", "a\nb"])
def test_a_secret_that_no_header_can_carry_is_refused_without_showing_it(secret):
    with pytest.raises(ValueError, match="api_key has characters") as raised:
        options(api_key=secret)
    assert secret not in str(raised.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"timeout": 0},
        {"deadline": -1},
        {"timeout": float("nan")},
        {"deadline": float("inf")},
        {"max_retries": -1},
    ],
)
def test_bounds_that_make_no_sense_are_refused(changes):
    (name,) = changes
    with pytest.raises(ValueError, match=name):
        options(**changes)


def test_a_connection_is_given_up_sooner_than_a_request():
    timeout = options().request(Call("GET", "/v2", timeout=30.0))["timeout"]
    assert (5.0, 30.0) == (timeout.connect, timeout.read)
