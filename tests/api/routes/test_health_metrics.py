"""A real scrape: formats, exemplars, and how many series there are."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from service.types import Variant
from tests.support.fakes import TOKENS, put_version, unit_vectors

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
OCTETS = {"Content-Type": "application/octet-stream"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TENSORS = {
    "inputs": [{"name": "vectors", "shape": [1, 4], "datatype": "FP32", "data": [1, 0, 0, 0]}]
}
MOST_SERIES = 4000


def series_of(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def naming(text, version):
    return [line for line in series_of(text) if f'version="{version}"' in line]


async def scrape(service, **headers):
    return (await service.client.get("/metrics", headers=headers)).text


async def predict(service, **headers):
    answer = await service.client.post(
        "/v1/predict", content=unit_vectors(3).tobytes(), headers={**OCTETS, **headers}
    )
    assert answer.status_code == 200


async def unload(service, version, verb="unload"):
    return await service.client.post(
        f"/v2/repository/models/next-vector/{verb}",
        params={"version": version},
        headers={"Authorization": f"Bearer {TOKENS['operator']}"},
    )


async def test_the_page_is_negotiated_and_compressed(service):
    answer = await service.client.get(
        "/metrics", headers={**OPENMETRICS, "Accept-Encoding": "gzip"}
    )

    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text.endswith("# EOF\n")
    assert list(text_string_to_metric_families(answer.text))
    plain = await service.client.get("/metrics", headers={"Accept-Encoding": "identity"})
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "content-encoding" not in plain.headers


async def test_two_versions_have_at_most_4000_series(service):
    """Even after each has been stable and canary, as after a promotion and the next rollout."""
    started = await service.admin("POST", json={"canary": "phase-3"})
    assert started.status_code == 202
    await service.controller.prepared()
    service.app.state.services.metrics.expect([(Variant.CANARY, "phase-2")])
    for variant in ("stable", "canary"):
        await predict(service, **{"X-Variant": variant})
    text = await scrape(service)

    for version in ("phase-2", "phase-3"):
        for variant in ("stable", "canary"):
            series = f'nextvec_requests_total{{mode="step",outcome="ok",variant="{variant}"'
            assert f'{series},version="{version}"}}' in text
    assert len(series_of(text)) <= MOST_SERIES


async def test_a_version_that_is_unloaded_leaves_no_series(service):
    before = len(series_of(await scrape(service)))
    for number in range(3):
        version = f"phase-{number + 4}"
        put_version(service.app.state.services.settings.models, version, window=8)
        service.engines[version] = service.engines["phase-2"]
        assert (await unload(service, version, "load")).status_code == 200
        await service.client.post(f"/v2/models/next-vector/versions/{version}/infer", json=TENSORS)
        assert naming(await scrape(service), version)
        assert (await unload(service, version)).status_code == 200
        assert [] == naming(await scrape(service), version)

    assert before == len(series_of(await scrape(service)))


async def test_a_version_that_is_loaded_again_starts_at_zero(service):
    infer = "/v2/models/next-vector/versions/phase-3/infer"
    assert (await service.client.post(infer, json=TENSORS)).status_code == 200
    labels = {"variant": "unassigned", "version": "phase-3", "mode": "prefill", "outcome": "ok"}
    assert 1 == await service.metric("nextvec_requests_total", **labels)
    assert (await unload(service, "phase-3")).status_code == 200
    assert (await unload(service, "phase-3", "load")).status_code == 200

    assert 0 == await service.metric("nextvec_requests_total", **labels)


async def test_latencies_carry_the_callers_trace(service):
    """Only if the caller records it, and only in OpenMetrics, which has exemplars."""
    other = "0af7651916cd43dd8448eb211c80319c"
    await predict(service, traceparent=f"00-{other}-00f067aa0ba902b7-00")
    await predict(service, traceparent="00-nonsense-01")
    await predict(service, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    lines = series_of(await scrape(service, **OPENMETRICS))
    with_trace = {line.partition("{")[0] for line in lines if f'trace_id="{TRACE}"' in line}

    assert {
        "nextvec_request_duration_seconds_bucket",
        "nextvec_queue_duration_seconds_bucket",
        "nextvec_inference_duration_seconds_bucket",
    } == with_trace
    assert not any(other in line or "nonsense" in line for line in lines)
    assert TRACE not in await scrape(service)
