"""The URL of the database: what it may have, and what it never shows."""

from __future__ import annotations

import ssl

import pytest

from service.rollout.storage.errors import StoreError
from service.rollout.storage.postgres.address import parse_address


def test_every_part_of_a_url_counts():
    found = parse_address("postgresql://us%40er:p%2Fw@db.example:6000/my%20db?sslmode=disable")
    assert ("db.example", 6000, "my db", "us@er", "p/w", "disable") == (
        found.host,
        found.port,
        found.database,
        found.user,
        found.password,
        found.tls,
    )
    assert str(found) == "PostgreSQL at db.example:6000/my db"
    assert "p/w" not in repr(found)


def test_the_password_may_come_from_a_setting_of_its_own():
    assert "s3cret" == parse_address("postgresql://u@h/d", "s3cret").password
    assert (5432, None) == (
        parse_address("postgresql://u@h/d").port,
        parse_address("postgresql://u@h/d").password,
    )


@pytest.mark.parametrize(
    ("mode", "verify", "hostname"),
    [
        ("require", ssl.CERT_NONE, False),
        ("verify-ca", ssl.CERT_REQUIRED, False),
        ("verify-full", ssl.CERT_REQUIRED, True),
    ],
)
def test_the_mode_says_what_is_verified(mode, verify, hostname):
    context = parse_address(f"postgresql://h/d?sslmode={mode}").tls
    assert (verify, hostname) == (context.verify_mode, context.check_hostname)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgresql://u:s3cret@h/", "name of a database"),
        ("postgresql://u:s3cret@h/a/b", "name of a database"),
        ("postgresql://u:s3cret@h/d?password=s3cret", "does not know 'password'"),
        ("postgresql://u:s3cret@h/d?sslmode=maybe", "must be one of disable"),
        ("postgresql://u:s3cret@h/d?sslmode=disable&sslmode=require", "a parameter twice"),
        ("postgresql://u:s3cret@h/d?sslrootcert=/no/ca.crt", "set sslmode=verify-full"),
        ("postgresql://u:s3cret@h/d?sslmode=verify-full&sslrootcert=/no/ca.crt", "/no/ca.crt"),
    ],
)
def test_what_a_url_may_not_have_is_named_without_its_password(url, text):
    with pytest.raises(StoreError, match=text) as caught:
        parse_address(url)
    assert "s3cret" not in str(caught.value)
