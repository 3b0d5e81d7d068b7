"""Who a process is in its fleet."""

from __future__ import annotations

import re
import socket

import pytest

from service.fleet.identity import identify


def test_every_process_has_a_boot_of_its_own():
    first, second = identify("nextvec", "one", 1), identify("nextvec", "one", 1)
    assert first.boot != second.boot
    assert (first.name, first.replica) == (second.name, second.replica) == ("nextvec", "one")


@pytest.mark.parametrize(
    ("host", "replica"),
    [
        ("nextvec-0", "nextvec-0-8080"),
        ("räumlich.example", "r-umlich.example-8080"),
        ("-_-", "replica-8080"),
        ("h" * 300, f"{'h' * 123}-8080"),
    ],
)
def test_the_default_name_is_that_of_the_host_and_the_port(monkeypatch, host, replica):
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    found = identify("nextvec", None, 8080).replica
    assert replica == found
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", found)
