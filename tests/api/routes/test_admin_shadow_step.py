"""A shadow step over HTTP: requests are copied, and callers do not notice."""

from __future__ import annotations

from tests.support.fakes import unit_vectors

PLAN = {
    "steps": [{"shadow": True, "min_dwell_seconds": 5, "min_samples": 10}, {"weight": 50}],
    "warm_up_seconds": 0,
    "warm_up_requests": 0,
}


async def begin(service):
    await service.admin("POST", json={"canary": "phase-3", "plan": PLAN})
    await service.controller.prepared()


async def call(service, number):
    """Send a step and a whole context; wait for the copy of each and for the rest after it."""
    vectors = unit_vectors(3, seed=number)
    answers = []
    for path, body in (
        ("/v1/sessions/ada/vectors", {"vectors": vectors[:1].tolist()}),
        ("/v1/predict", {"context": vectors.tolist()}),
    ):
        answers.append(await service.client.post(path, json=body))
        await service.copied()
    return answers


async def test_callers_get_stable_and_the_canary_gets_copies(service):
    """Then the canary gets its weight. Status and metrics show the results of the copies."""
    await begin(service)
    await service.controller.tick()
    for number in range(12):
        for answer in await call(service, number):
            assert answer.status_code == 200
            assert answer.headers["x-model-version"] == "phase-2"
    service.clock.advance(10)
    await service.controller.tick()
    status = (await service.admin("GET")).json()
    assert (status["step"], status["weight"]["set_percent"]) == (1, 50)
    assert status["shadow"]["copies"] == {"answered": 24, "failed": 0, "dropped": 0}
    assert {each["mode"] for each in status["shadow"]["inference"]} == {"prefill", "step"}
    assert -1 <= status["shadow"]["agreement"] <= 1
    assert await service.metric("nextvec_shadow_copies_total", result="answered") == 24


async def test_copies_are_not_counted_as_requests(service):
    """No series has variant="canary"."""
    await begin(service)
    await call(service, 0)
    labels = {"variant": "canary", "version": "phase-3", "outcome": "ok"}
    for mode in ("prefill", "step"):
        name = "nextvec_requests_total"
        assert await service.metric(name, mode=mode, **labels) == 0
    assert (
        await service.metric(
            "nextvec_shadow_inference_duration_seconds_count", version="phase-3", mode="prefill"
        )
        == 1
    )


async def test_a_canary_whose_every_run_fails_harms_nobody(service):
    await begin(service)
    await service.controller.tick()
    service.engines["phase-3"].poison = True
    for number in range(3):
        for answer in await call(service, number):
            assert answer.status_code == 200
    await service.controller.tick()
    status = (await service.admin("GET")).json()
    assert (status["phase"], status["reason"]) == ("RolledBack", "guardrail_failed")
    assert "copies failed" in status["message"]


async def test_an_abort_ends_the_copies(service):
    await begin(service)
    await service.admin("POST", "/abort")
    await call(service, 0)
    assert await service.metric("nextvec_shadow_copies_total", result="answered") == 0
