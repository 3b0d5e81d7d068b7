"""Envoy's configuration: what is sent again, and that the shipped files are the module's."""

from __future__ import annotations

import re
import subprocess
from itertools import chain

import pytest
import yaml

from loadtest.fleet.balancer import RETRY_BUFFER, envoy_config, render, shipped_files
from loadtest.fleet.programs import find_program
from service.settings import Settings
from tests.support.sources import ROOT
from tests.support.tools import need, tool_path

CONFIG = envoy_config(("127.0.0.1", 8080), [("127.0.0.1", 8081), ("127.0.0.1", 8082)])


def virtual_host(config=CONFIG):
    listener = config["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager["route_config"]["virtual_hosts"][0]


def route_of(method, path, query="", **headers):
    """The first route that matches, as Envoy finds it."""
    for route in virtual_host()["routes"]:
        match = route["match"]
        if "path" in match and path != match["path"]:
            continue
        if not path.startswith(match.get("prefix", "")):
            continue
        names = {each["name"] for each in match.get("query_parameters", [])}
        if not names <= {part.split("=")[0] for part in query.split("&")}:
            continue
        wanted = match.get("headers", [])
        if all(
            method == each["string_match"]["exact"]
            if each["name"] == ":method"
            else each["name"] in headers
            for each in wanted
        ):
            return route["route"]
    raise AssertionError("every request has a route")


@pytest.mark.parametrize(
    ("request_line", "again"),
    [
        (("POST", "/v1/sessions/a/vectors", "position=3"), True),
        (("POST", "/v1/sessions/a/vectors"), False),
        (("GET", "/v1/sessions/a"), True),
        (("DELETE", "/v1/sessions/a"), True),
        (("POST", "/v1/predict"), True),
        (("POST", "/v1/steps"), False),
        (("POST", "/v2/models/next-vector/infer"), False),
        (("GET", "/v2/health/ready"), True),
        (("POST", "/admin/v1/rollout/promote"), False),
        (("GET", "/admin/v1/rollout/events"), True),
    ],
)
def test_only_what_is_safe_is_sent_again_after_a_lost_connection(request_line, again):
    """A request that no replica has seen is always sent again."""
    retries = route_of(*request_line)["retry_policy"]
    conditions = retries["retry_on"].split(",")
    assert again == ("reset" in conditions)
    assert {"connect-failure", "refused-stream", "reset-before-request"} <= set(conditions)
    assert [503] == retries["retriable_status_codes"]


def test_a_change_with_an_idempotency_key_is_sent_again():
    route = route_of("POST", "/admin/v1/rollout/promote", **{"idempotency-key": "x"})
    assert "reset" in route["retry_policy"]["retry_on"].split(",")


@pytest.mark.parametrize("path", ["/v1/sessions/a/vectors", "/v1/sessions/a"])
def test_requests_of_a_session_are_hashed_by_its_id(path):
    (policy,) = route_of("POST", path)["hash_policy"]
    assert ":path" == policy["header"]["header_name"]


def test_a_request_lives_longer_than_the_services_deadline_and_a_stream_for_ever():
    seconds = {
        int(route["route"]["timeout"].removesuffix("s")) for route in virtual_host()["routes"]
    }
    assert {0, 15} == seconds
    assert Settings().limits.timeout_seconds < 15
    assert "0s" == route_of("GET", "/admin/v1/rollout/events")["timeout"]


def test_idle_connections_end_before_the_service_ends_them():
    (cluster,) = CONFIG["static_resources"]["clusters"]
    (options,) = cluster["typed_extension_protocol_options"].values()
    idle = options["common_http_protocol_options"]["idle_timeout"]
    assert int(idle.removesuffix("s")) < Settings().http.keep_alive_seconds


def test_a_replica_is_out_before_its_drain_ends():
    """The probe sees the 503 within its interval; the listener closes later."""
    (cluster,) = CONFIG["static_resources"]["clusters"]
    (check,) = cluster["health_checks"]
    interval, timeout = (float(check[name].removesuffix("s")) for name in ("interval", "timeout"))
    assert interval + timeout < Settings().http.drain_seconds


def test_a_context_of_a_whole_window_can_be_sent_again():
    assert 1000 * 768 * 4 < RETRY_BUFFER


def test_replicas_are_named_to_callers_only_when_asked():
    shown = envoy_config(("127.0.0.1", 1), [("127.0.0.1", 2)], show_replica=True)
    assert "response_headers_to_add" in virtual_host(shown)
    assert "response_headers_to_add" not in virtual_host()
    assert not any("X-Nextvec-Replica" in text for text in shipped_files().values())


@pytest.mark.parametrize("path", shipped_files())
def test_a_shipped_file_is_what_the_module_writes(path):
    """`python -m loadtest.fleet.balancer` writes it."""
    assert shipped_files()[path] == (ROOT / path).read_text(encoding="utf-8")


@need("envoy")
@pytest.mark.parametrize("path", shipped_files())
def test_envoy_accepts_a_shipped_file(path, tmp_path):
    text = shipped_files()[path]
    filled = text.replace('{{ include "nextvec.headless" . }}.{{ .Release.Namespace }}.svc', "h")
    filled = filled.replace('{{ add (include "nextvec.requestSeconds" .) 5 }}', "15")
    assert "{{" not in filled
    (tmp_path / "envoy.yaml").write_text(filled, encoding="utf-8")
    check = [find_program("envoy"), "--mode", "validate", "-c", tmp_path / "envoy.yaml"]
    done = subprocess.run(check, capture_output=True, text=True, check=False, timeout=60)
    assert 0 == done.returncode, done.stderr
    assert "deprecated" not in done.stderr.lower()


def test_the_page_of_statistics_has_no_way_to_stop_the_process():
    config = envoy_config(("h", 1), [("r", 2)], status=("h", 3), by_name=True)
    (_, status) = config["static_resources"]["listeners"]
    manager = status["filter_chains"][0]["filters"][0]["typed_config"]
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert [{"path": "/ready"}, {"path": "/stats/prometheus"}] == [each["match"] for each in routes]


def test_yaml_without_aliases():
    assert CONFIG == yaml.safe_load(render(CONFIG))
    assert not set("&*") & set(chain.from_iterable(line[:1] for line in render(CONFIG).split(": ")))


@need("haproxy")
def test_haproxy_accepts_its_configuration(tmp_path):
    """With addresses in place of names, which it looks up when it starts."""
    text = (ROOT / "deploy" / "fleet" / "haproxy.cfg").read_text(encoding="utf-8")
    named = re.sub(r"(server replica-\d) replica-\d:", r"\1 127.0.0.1:", text)
    (tmp_path / "haproxy.cfg").write_text(named, encoding="utf-8")
    check = [tool_path("haproxy"), "-c", "-f", tmp_path / "haproxy.cfg"]
    done = subprocess.run(check, capture_output=True, text=True, check=False, timeout=60)
    assert 0 == done.returncode, done.stderr
    assert "WARNING" not in done.stderr
