"""The fleet on one machine: pinned, local, unprivileged, and consistent with its configurations."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema_rs
import pytest

from service.settings import Settings
from tests.deploy.test_compose import setting_exists
from tests.support import yaml_files
from tests.support.expressions import DEPLOY

FOLDER = DEPLOY / "fleet"
TEXT = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
COMPOSE = yaml_files.load(TEXT)
SERVICES = COMPOSE["services"]
REPLICAS = [name for name in SERVICES if name.startswith("replica-")]
ENVOY = yaml_files.load((FOLDER / "envoy.yaml").read_text(encoding="utf-8"))
PROMETHEUS = yaml_files.load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))

each_service = pytest.mark.parametrize("name", SERVICES)


def replica_addresses():
    cluster = ENVOY["static_resources"]["clusters"][0]
    for endpoint in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]:
        address = endpoint["endpoint"]["address"]["socket_address"]
        yield f"{address['address']}:{address['port_value']}"


def test_there_are_three_replicas_a_balancer_and_the_stores():
    assert 3 == len(REPLICAS)
    others = {"envoy", "redis", "postgres", "prometheus", "grafana"}
    assert others == SERVICES.keys() - set(REPLICAS)


@each_service
def test_images_are_pinned(name):
    assert re.search(r":v?\d+\.\d+(\.\d+)?$", SERVICES[name]["image"])


@each_service
def test_only_localhost_is_published_and_no_store_is(name):
    ports = SERVICES[name].get("ports", [])
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert bool(ports) == (name in {"envoy", "prometheus", "grafana"})


@each_service
def test_a_service_restarts_is_watched_bounded_and_has_no_privileges(name):
    service = SERVICES[name]
    assert "unless-stopped" == service["restart"]
    assert "CMD" == service["healthcheck"]["test"][0]
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]
    assert service["mem_limit"] == service["memswap_limit"]
    assert service["pids_limit"] <= 512
    assert service.get("read_only", False) == (name != "grafana")


@each_service
def test_mounts_from_the_repository_exist_and_are_read_only(name):
    for mount in SERVICES[name].get("volumes", []):
        if isinstance(mount, dict):
            assert mount["read_only"]
            continue
        source, _, options = mount.partition(":")
        if source.startswith("."):
            assert (FOLDER / source).exists(), source
            assert options.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", REPLICAS)
def test_replicas_differ_in_their_names_only(name):
    environment = dict(SERVICES[name]["environment"])
    assert name == environment.pop("NEXTVEC_FLEET__REPLICA")
    first = dict(SERVICES["replica-1"]["environment"])
    first.pop("NEXTVEC_FLEET__REPLICA")
    assert first == environment


@pytest.mark.parametrize("variable", SERVICES["replica-1"]["environment"])
def test_the_environment_names_settings_that_exist(variable):
    assert setting_exists(variable.removesuffix("_FILE"))


def test_envoy_and_prometheus_know_all_replicas():
    expected = [f"{name}:8080" for name in REPLICAS]
    assert expected == list(replica_addresses())
    (replicas, envoy) = PROMETHEUS["scrape_configs"]
    assert expected == replicas["static_configs"][0]["targets"]
    assert ["envoy:8002"] == envoy["static_configs"][0]["targets"]


def test_the_drain_is_longer_than_the_probe_and_the_grace_longer_than_the_drain():
    drain = float(SERVICES["replica-1"]["environment"]["NEXTVEC_HTTP__DRAIN_SECONDS"])
    check = ENVOY["static_resources"]["clusters"][0]["health_checks"][0]
    grace = float(SERVICES["replica-1"]["stop_grace_period"].removesuffix("s"))
    assert float(check["interval"].removesuffix("s")) + 0.5 < drain
    assert drain + Settings().limits.timeout_seconds + 5 <= grace


def test_redis_never_evicts_and_stops_before_its_memory_ends():
    lines = (FOLDER / "valkey.conf").read_text(encoding="utf-8").splitlines()
    settings = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    assert "noeviction" == settings["maxmemory-policy"]
    assert "yes" == settings["appendonly"]
    assert "requirepass" not in settings
    limit = re.search(r":-(\d+)g\}", SERVICES["redis"]["mem_limit"])
    assert int(settings["maxmemory"].removesuffix("mb")) <= int(limit[1]) * 1024 * 0.75


def test_secrets_have_no_default_and_say_where_to_set_them():
    found = re.findall(r"\$\{(\w+(?:TOKEN|PASSWORD))([^}]*)\}", TEXT)
    assert 4 == len({name for name, _ in found})
    for name, rest in found:
        assert rest.startswith(f":?set {name} in deploy/fleet/.env")


def test_no_command_has_a_secret_in_its_arguments():
    for service in SERVICES.values():
        words = " ".join([*service.get("command", []), *service["healthcheck"]["test"]])
        assert not re.search(r"\$\{?\w*(PASSWORD|TOKEN)", words)


def test_the_example_lists_every_variable_that_compose_reads():
    read = set(re.findall(r"(?<!\$)\$\{(\w+)", TEXT))
    read |= {secret["environment"] for secret in COMPOSE["secrets"].values()}
    example = (FOLDER / ".env.example").read_text(encoding="utf-8")
    assert read == set(re.findall(r"^#?(\w+)=", example, re.MULTILINE))
    assert all(not value for value in re.findall(r"(?:TOKEN|PASSWORD)=(.*)", example))
    assert ".env" in (FOLDER / ".gitignore").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("file", ["compose.yaml", "compose.gpu.yaml", "fleet/compose.yaml"])
def test_compose_files_follow_the_specification(file):
    """The schema is that of compose-spec (Apache-2.0), June 2026; it refuses unknown keys."""
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text(encoding="utf-8"))
    document = yaml_files.load((DEPLOY / file).read_text(encoding="utf-8"))
    validator = jsonschema_rs.validator_for(schema)
    assert [] == [f"{e.instance_path}: {e.message}" for e in validator.iter_errors(document)]
    document["services"][next(iter(document["services"]))]["restarts"] = "always"
    assert not validator.is_valid(document)
