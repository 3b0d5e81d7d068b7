"""Who serves a request, and whether it is evidence."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from service.errors import NotFound
from service.metrics import UNASSIGNED
from service.prediction.request import RequestOptions
from service.prediction.routing import RequestRouter
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.types import Variant

HALF = TrafficSplit("phase-2", "phase-3", 5000, "salt")


class RoutableVersions:
    """A registry of these versions."""

    def __init__(self, *names):
        self.versions = {name: SimpleNamespace(name=name) for name in names}

    def get(self, version):
        try:
            return self.versions[version]
        except KeyError:
            raise NotFound(version) from None


@pytest.fixture
def traffic():
    return TrafficRouter(HALF)


@pytest.fixture
def registry():
    return RoutableVersions("phase-2", "phase-3", "phase-1")


@pytest.fixture
def router(traffic, registry):
    return RequestRouter(traffic, registry, draw_key=lambda: "drawn")


def test_the_split_decides_by_the_key_then_by_the_session(router):
    options = RequestOptions("a key")
    assert router.decide(options).route == HALF.route("a key", None, str)
    assert router.decide(options, "session").route == HALF.route("a key", None, str)
    assert router.decide(RequestOptions(), "session").route == HALF.route("session", None, str)
    assert router.decide(RequestOptions()).route == HALF.route("drawn", None, str)


def test_what_the_split_placed_is_evidence_under_its_variant(router):
    decision = router.decide(RequestOptions("a key"))
    assert decision.is_evidence
    assert decision.label == decision.route.variant.value
    left_out = decision.without_evidence()
    assert left_out.label == UNASSIGNED
    assert left_out[:3] == decision[:3]


@pytest.mark.parametrize(
    ("options", "variant", "version"),
    [
        (RequestOptions(override=Variant.CANARY), Variant.CANARY, "phase-3"),
        (RequestOptions(version="phase-2"), Variant.STABLE, "phase-2"),
        (RequestOptions(version="phase-1"), None, "phase-1"),
    ],
)
def test_what_the_caller_chose_is_no_evidence(router, options, variant, version):
    decision = router.decide(options)
    assert (decision.route.variant, decision.route.version) == (variant, version)
    assert decision.loaded.name == version
    assert decision.label == UNASSIGNED
    assert not decision.is_shadowed


def test_a_version_that_is_not_loaded_is_not_found(router):
    with pytest.raises(NotFound):
        router.decide(RequestOptions(version="phase-9"))


def test_a_decision_is_renewed_only_after_a_change(router, traffic, registry):
    options = RequestOptions("a key")
    decision = router.decide(options, "session")
    assert router.renew(decision, options, "session") is decision
    traffic.set(TrafficSplit("phase-2"))
    later = router.renew(decision, options, "session")
    assert (later.split, later.route.version) == (traffic.current, "phase-2")
    registry.versions["phase-2"] = SimpleNamespace(name="phase-2, loaded again")
    again = router.renew(later, options, "session")
    assert again.loaded.name == "phase-2, loaded again"


def test_a_version_unloaded_in_the_meantime_is_not_found(router, registry):
    options = RequestOptions(version="phase-1")
    decision = router.decide(options, "session")
    del registry.versions["phase-1"]
    with pytest.raises(NotFound):
        router.renew(decision, options, "session")


@pytest.mark.parametrize("shadow", [False, True])
def test_copies_are_made_in_a_shadow_step_only(router, traffic, shadow):
    traffic.set(TrafficSplit("phase-2", "phase-3", 0, "salt", shadow=shadow))
    decision = router.decide(RequestOptions())
    assert decision.is_shadowed is shadow
    assert not decision.without_evidence().is_shadowed
