"""The URL of a store of sessions."""

from __future__ import annotations

import pytest

from service.errors import StoreUnusable
from service.settings.loader import ConfigurationError, load_settings
from service.settings.urls import RedisUrl
from service.shared_sessions import redis_address

SECRET = "open-sesame"


@pytest.mark.parametrize(
    ("text", "shown", "host", "port", "database", "path"),
    [
        ("redis://redis", "redis://redis", "redis", 6379, 0, None),
        ("redis://redis:6380/3", "redis://redis:6380/3", "redis", 6380, 3, None),
        (f"rediss://u:{SECRET}@redis/1", "rediss://redis/1", "redis", 6379, 1, None),
        ("redis://[::1]:6380", "redis://[::1]:6380", "::1", 6380, 0, None),
        ("unix:///run/redis.sock", "unix:///run/redis.sock", "", 0, 0, "/run/redis.sock"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock", "", 0, 2, "/run/redis.sock"),
    ],
)
def test_a_url_is_read_and_shown_without_its_password(text, shown, host, port, database, path):
    url = RedisUrl(text)
    assert (str(url), url.database, url.socket_path) == (shown, database, path)
    if path is None:
        assert (url.host, url.port) == (host, port)
    assert SECRET not in f"{url}{url!r}"
    assert url.is_encrypted == text.startswith("rediss")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://redis",
        "redis:6379",
        "redis://",
        "redis://redis:port",
        "redis://redis/zero",
        "redis://redis/0?timeout=1",
        "redis://redis/0#x",
        "redis://re dis",
        "unix://run/redis.sock",
        "unix:run/redis.sock",
        "unix:///run/redis.sock?password=open-sesame",
    ],
)
def test_another_url_is_refused_without_being_shown(text):
    with pytest.raises(ValueError, match="must") as raised:
        RedisUrl(text)
    assert SECRET not in str(raised.value)


def test_the_password_comes_from_the_url_or_from_a_file(tmp_path):
    """Percent-encoded in the URL; not from both."""
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    from_url = {"NEXTVEC_SESSIONS__URL": "redis://me:a%40b@redis"}
    settings = load_settings(from_url).settings.sessions
    assert (redis_address(settings).user, redis_address(settings).password) == ("me", "a@b")
    from_file = {
        "NEXTVEC_SESSIONS__URL": "redis://redis",
        "NEXTVEC_SESSIONS__PASSWORD_FILE": str(file),
    }
    settings = load_settings(from_file).settings.sessions
    assert redis_address(settings).password == SECRET
    assert SECRET not in repr(redis_address(settings)) + repr(settings)
    with pytest.raises(ConfigurationError, match="set one") as raised:
        load_settings({**from_file, **from_url})
    assert "a%40b" not in str(raised.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"CA": "/no/such/file"}, "cannot be used"),
        ({"CERTIFICATE": "/no/such/file", "KEY": "/no/such/file"}, "cannot be used"),
    ],
)
def test_certificates_that_cannot_be_read_are_told(more, said):
    settings = load_settings(
        {"NEXTVEC_SESSIONS__URL": "rediss://redis"}
        | {f"NEXTVEC_SESSIONS__{name}": value for name, value in more.items()}
    ).settings
    with pytest.raises(StoreUnusable, match=said):
        redis_address(settings.sessions)


@pytest.mark.parametrize(
    "settings",
    [
        {"URL": "redis://redis", "CA": "/ca.crt"},
        {"URL": "rediss://redis", "CERTIFICATE": "/client.crt"},
    ],
)
def test_certificates_go_with_tls_and_with_their_key(settings):
    with pytest.raises(ConfigurationError):
        load_settings({f"NEXTVEC_SESSIONS__{name}": value for name, value in settings.items()})
