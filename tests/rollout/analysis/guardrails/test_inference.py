"""The inference guardrail: the latency test on the engine's time."""

from __future__ import annotations

from service.rollout.analysis.counters import Counters, CountsByArm
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.inference import InferenceGuardrail
from service.rollout.analysis.guardrails.latency import LatencyGuardrail
from tests.support.guardrails import make_guardrail
from tests.support.rollout_fakes import bucket_counts

INFERENCE = make_guardrail(InferenceGuardrail, baseline_samples=100)
LATENCY = make_guardrail(LatencyGuardrail, baseline_samples=100)
BASELINE = {"step": CountsByArm(bucket_counts([0.1] * 96 + [0.5] * 4), bucket_counts([]))}
SLOW = {
    "step": CountsByArm(
        bucket_counts([0.1] * 95 + [0.5] * 5), bucket_counts([0.1] * 60 + [0.5] * 40)
    )
}


def test_it_is_the_latency_test_on_the_engines_time():
    """It ignores whole requests."""
    state, latency = INFERENCE.initial_state({}), LATENCY.initial_state({})
    for new in (BASELINE, *[SLOW] * 6):
        state = INFERENCE.update(state, Measurement(Counters(inference=new)))
        latency = LATENCY.update(latency, Measurement(Counters(requests=new)))
    assert latency == state
    assert state == INFERENCE.update(state, Measurement(Counters(requests=SLOW)))


def test_the_message_says_where_the_time_was_spent():
    state = INFERENCE.initial_state({})
    for new in (BASELINE, *[SLOW] * 6):
        state = INFERENCE.update(state, Measurement(Counters(inference=new)))
    assert (
        "step: canary: 240 requests slower in the engine than 1.2·τ = 129.4 ms, "
        "stable: 30 requests slower in the engine than τ = 107.8 ms"
    ) in INFERENCE.assess(state).message
