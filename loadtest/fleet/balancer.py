"""Envoy's configuration. `python -m loadtest.fleet.balancer` writes the shipped files.

One function makes the configuration of a fleet on this machine, of `deploy/fleet/compose.yaml` and
of the Helm chart, so that what the tests run is what is shipped.

- `/v1/sessions/{id}…` goes to the replica of the hash of the id.
- Any other request goes to the replica of the hash of `X-Routing-Key`, else to any.
- A request whose connection was lost may have been carried out. It is sent again, to another
  replica, only if that is safe: an append with `position`, a context, a `GET`, a change with
  `Idempotency-Key`.
- A request that the replica never saw (refused, 503) is always sent again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Address = tuple[str, int]
Node = dict[str, Any]

CLUSTER = "nextvec"
MAGLEV_TABLE = 65537
"""A prime, far above the number of replicas: their shares then differ by less than 1 %."""

RETRY_BUFFER = 4 * 2**20
"""Bytes of a body that is kept for another try: some 1,300 vectors. A larger one is sent once."""

STEP_TRY_SECONDS = 2
"""A step takes milliseconds. A replica that was stopped or cut off costs its sessions this once."""

REQUEST_SECONDS = 15
"""Longer than the service's own deadline (`limits.timeout_seconds`, 10 s). The chart follows that
setting."""

_HTTP_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_TYPES = "type.googleapis.com/"
_PREVIOUS_HOSTS = {
    "name": "envoy.retry_host_predicates.previous_hosts",
    "typed_config": {
        "@type": f"{_TYPES}envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    },
}
_SESSION = r"^/v1/sessions/([^/?]+).*$"
_ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": f"{_TYPES}envoy.extensions.filters.http.router.v3.Router"},
}

# Nothing has happened on the replica: it did not take the request, or says that it will not.
_UNSEEN = "connect-failure,refused-stream,reset-before-request,retriable-status-codes"
# The replica may have carried the request out, and its answer was lost.
_LOST = f"{_UNSEEN},reset"

_COMMENT = """\
# Envoy in front of the replicas. Written by `python -m loadtest.fleet.balancer`; that module
# explains the choices. Do not edit this copy.
"""


def envoy_config(
    listen: Address,
    replicas: Sequence[Address],
    *,
    admin: Address = ("127.0.0.1", 9901),
    status: Address | None = None,
    by_name: bool = False,
    show_replica: bool = False,
) -> Node:
    """Envoy's bootstrap configuration.

    `replicas` are addresses, or names that are looked up every second if `by_name`; one name may
    have many addresses. `status` is an address for `/ready` and `/stats/prometheus` alone: the
    rest of `admin` can stop the process. `show_replica` names the replica in the header
    `X-Nextvec-Replica` of each response, which callers of a public service need not know.
    """
    listeners = [_listener("callers", listen, _routes(show_replica=show_replica))]
    clusters = [_cluster(replicas, by_name=by_name)]
    if status is not None:
        listeners.append(_listener("status", status, _status_routes()))
        clusters.append({"name": "admin", "load_assignment": _endpoints("admin", [admin])})
    return {
        "node": {"id": "nextvec-balancer", "cluster": "nextvec"},
        "admin": {"address": _socket(admin)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


def _listener(name: str, address: Address, virtual_host: Node) -> Node:
    manager = {
        "@type": _TYPES + _HTTP_MANAGER,
        "stat_prefix": name,
        # `X-Forwarded-For` gets the caller's address, and `X-Envoy-…` of callers is dropped.
        "use_remote_address": True,
        "normalize_path": True,
        "server_header_transformation": "PASS_THROUGH",
        "request_headers_timeout": "10s",
        "common_http_protocol_options": {"idle_timeout": "300s"},
        "route_config": {"name": name, "virtual_hosts": [virtual_host]},
        "http_filters": [_ROUTER],
    }
    chain = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ]
    }
    return {
        "name": name,
        "address": _socket(address),
        "per_connection_buffer_limit_bytes": RETRY_BUFFER,
        "filter_chains": [chain],
    }


def _routes(*, show_replica: bool) -> Node:
    session_hash = [
        {
            "header": {
                "header_name": ":path",
                "regex_rewrite": {"pattern": {"regex": _SESSION}, "substitution": "\\1"},
            }
        }
    ]
    key_hash = [{"header": {"header_name": "x-routing-key"}}]
    with_position = {"name": "position", "present_match": True}
    with_key = {"name": "idempotency-key", "present_match": True}
    routes = [
        # An append with a position is stored once, however often it is sent.
        _route(
            {"prefix": "/v1/sessions/", "query_parameters": [with_position]},
            session_hash,
            _LOST,
            try_seconds=STEP_TRY_SECONDS,
        ),
        _route({"prefix": "/v1/sessions/", "headers": [_method("POST")]}, session_hash, _UNSEEN),
        _route({"prefix": "/v1/sessions/"}, session_hash, _LOST),
        # A context changes nothing.
        _route({"path": "/v1/predict"}, key_hash, _LOST),
        # A stream of events has no end. A comment comes every 15 s.
        _route({"path": "/admin/v1/rollout/events"}, key_hash, _LOST, seconds=0, idle_seconds=60),
        _route({"prefix": "/", "headers": [_method("GET")]}, key_hash, _LOST),
        _route({"prefix": "/", "headers": [with_key]}, key_hash, _LOST),
        _route({"prefix": "/"}, key_hash, _UNSEEN),
    ]
    host: Node = {
        "name": "callers",
        "domains": ["*"],
        "request_body_buffer_limit": RETRY_BUFFER,
        "routes": routes,
    }
    if show_replica:
        header = {"key": "X-Nextvec-Replica", "value": "%UPSTREAM_REMOTE_ADDRESS%"}
        host["response_headers_to_add"] = [{"header": header}]
    return host


def _status_routes() -> Node:
    paths = ("/ready", "/stats/prometheus")
    routes = [{"match": {"path": path}, "route": {"cluster": "admin"}} for path in paths]
    return {"name": "status", "domains": ["*"], "routes": routes}


def _method(name: str) -> Node:
    return {"name": ":method", "string_match": {"exact": name}}


def _route(
    match: Node,
    hash_policy: list[Node],
    retry_on: str,
    *,
    seconds: int = REQUEST_SECONDS,
    try_seconds: int | None = None,
    idle_seconds: int | None = None,
) -> Node:
    retries: Node = {
        "retry_on": retry_on,
        "retriable_status_codes": [503],
        "num_retries": 3,
        "retry_host_predicate": [_PREVIOUS_HOSTS],
        # Each attempt draws a replica again, and may draw one that has just failed. With two of
        # three dead, five attempts all do so for (2/3)^5 = 13 % of the sessions.
        "host_selection_retry_max_attempts": 40,
        "retry_back_off": {"base_interval": "0.02s", "max_interval": "0.2s"},
    }
    if try_seconds is not None:
        retries["per_try_timeout"] = f"{try_seconds}s"
    route: Node = {
        "cluster": CLUSTER,
        "timeout": f"{seconds}s",
        "hash_policy": hash_policy,
        "retry_policy": retries,
    }
    if idle_seconds is not None:
        route["idle_timeout"] = f"{idle_seconds}s"
    return {"match": match, "route": route}


def _cluster(replicas: Sequence[Address], *, by_name: bool) -> Node:
    cluster: Node = {
        "name": CLUSTER,
        "type": "STATIC",
        "connect_timeout": "0.25s",
        # Not a ring: taking one of three away then moves a thousandth of the others' keys.
        "lb_policy": "MAGLEV",
        "maglev_lb_config": {"table_size": MAGLEV_TABLE},
        # Health decides, not the share of healthy replicas: the last one gets everything. With
        # none, all are tried.
        "common_lb_config": {"healthy_panic_threshold": {"value": 1}},
        # The default of three retries at a time refuses callers when a replica dies.
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_retries": 1024,
                    "max_requests": 100_000,
                    "max_pending_requests": 10_000,
                    "max_connections": 10_000,
                }
            ]
        },
        "health_checks": [
            {
                "timeout": "0.5s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": "/v2/health/ready"},
            }
        ],
        "outlier_detection": {
            "consecutive_5xx": 1_000_000,
            "enforcing_consecutive_5xx": 0,
            "consecutive_gateway_failure": 3,
            "enforcing_consecutive_gateway_failure": 100,
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 2,
            "interval": "1s",
            "base_ejection_time": "1s",
            "max_ejection_time": "2s",
            "max_ejection_percent": 34,
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPES}envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                # Below the service's `http.keep_alive_seconds` (75 s).
                "common_http_protocol_options": {"idle_timeout": "60s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
        "load_assignment": _endpoints(CLUSTER, replicas),
    }
    if by_name:
        del cluster["type"]
        cluster["cluster_type"] = {
            "name": "envoy.clusters.dns",
            "typed_config": {
                "@type": f"{_TYPES}envoy.extensions.clusters.dns.v3.DnsCluster",
                "dns_refresh_rate": "1s",
                "respect_dns_ttl": False,
                "dns_lookup_family": "V4_PREFERRED",
            },
        }
        # A replica that has left the name is gone: do not wait for its probe.
        cluster["ignore_health_on_host_removal"] = True
    return cluster


def _endpoints(name: str, addresses: Sequence[Address]) -> Node:
    endpoints = [{"endpoint": {"address": _socket(address)}} for address in addresses]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}


def _socket(address: Address) -> Node:
    host, port = address
    return {"socket_address": {"address": host, "port_value": port}}


class _PlainDumper(yaml.SafeDumper):
    """Writes what is used twice twice: aliases are hard to read, and templates break them."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def render(config: Mapping[str, Any]) -> str:
    """The configuration as YAML, in its own order."""
    return yaml.dump(dict(config), Dumper=_PlainDumper, sort_keys=False, width=100)


def shipped_files() -> dict[str, str]:
    """The text of each shipped configuration, by its path in the repository."""
    everywhere = "0.0.0.0"  # noqa: S104  inside a container
    compose = envoy_config(
        (everywhere, 8080),
        [(f"replica-{number}", 8080) for number in (1, 2, 3)],
        status=(everywhere, 8002),
        by_name=True,
    )
    # Helm fills in what is in braces.
    chart = envoy_config(
        (everywhere, 8080),
        [('{{ include "nextvec.headless" . }}.{{ .Release.Namespace }}.svc', 8080)],
        status=(everywhere, 8002),
        by_name=True,
    )
    seconds = '{{ add (include "nextvec.requestSeconds" .) 5 }}'
    timeout = f"timeout: {REQUEST_SECONDS}s"
    return {
        "deploy/fleet/envoy.yaml": _COMMENT + render(compose),
        "deploy/helm/nextvec/files/envoy.yaml": _COMMENT
        + render(chart).replace(timeout, f"timeout: {seconds}s"),
    }


if __name__ == "__main__":
    root = Path(__file__).parents[2]
    for path, text in shipped_files().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
