"""Ports, passwords and the folder of a fleet."""

from __future__ import annotations

import socket
import stat
from dataclasses import astuple

import pytest

from loadtest.fleet.layout import MOST_REPLICAS, FleetPorts, FleetSecrets, lock_folder
from loadtest.fleet.process import FleetError


def flat(ports):
    return [*ports.replicas, *(port for port in astuple(ports) if isinstance(port, int))]


@pytest.mark.parametrize("replicas", [1, 3, MOST_REPLICAS])
@pytest.mark.parametrize("make", [FleetPorts.free, lambda n: FleetPorts.fixed(8080, n)])
def test_no_port_is_used_twice(make, replicas):
    ports = make(replicas)
    assert replicas == len(ports.replicas)
    assert len(set(flat(ports))) == len(flat(ports))


def test_a_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(FleetError, match=str(port)):
            FleetPorts.fixed(port, 1).check_free()


def test_passwords_are_kept_and_only_their_owner_reads_them(tmp_path):
    first = FleetSecrets.kept_in(tmp_path)
    assert first == FleetSecrets.kept_in(tmp_path)
    assert first != FleetSecrets()
    assert 0o600 == stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode)
    assert first.redis not in repr(first)


@pytest.mark.parametrize("content", ["", "[]", '{"redis": "x", "other": "y"}'])
def test_a_damaged_file_of_passwords_is_an_error_that_says_what_to_do(tmp_path, content):
    (tmp_path / "secrets.json").write_text(content)
    with pytest.raises(FleetError, match="remove"):
        FleetSecrets.kept_in(tmp_path)


def test_two_fleets_do_not_share_a_folder(tmp_path):
    with lock_folder(tmp_path / "fleet"), pytest.raises(FleetError, match="another --folder"):
        lock_folder(tmp_path / "fleet")
    lock_folder(tmp_path / "fleet").close()
