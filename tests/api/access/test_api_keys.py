"""API keys: who a caller is, and what it may take."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from service.api.access.api_keys import ApiKeys, TokenBucket
from service.errors import CallerLimited
from service.metrics import Metrics, new_registry
from service.settings import CallerSettings
from tests.support.fakes import FakeClock

A, B = "key-of-a-key-of-a", "key-of-b-key-of-b"


def api_keys(clock=None, **limits):
    settings = CallerSettings.model_validate(
        {"keys": [{"name": "a", "key": A, **limits}, {"name": "b", "key": B}]}
    )
    return ApiKeys(settings, Metrics(new_registry(), 10.0), clock or FakeClock())


def headers(**given):
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (headers(x_api_key=A), "a"),
        (headers(authorization=f"Bearer {A}"), "a"),
        (headers(authorization=f"bearer   {B} "), "b"),
        (headers(x_api_key=A, authorization=f"Bearer {A}"), "a"),
        (headers(x_api_key=A, authorization=f"Bearer {B}"), None),
        (headers(x_api_key=A) + headers(x_api_key=B), None),
        (headers(authorization=f"Basic {A}"), None),
        (headers(x_api_key=f"{A}x"), None),
        (headers(x_api_key=""), None),
        (headers(authorization="Bearer"), None),
        ([(b"x-api-key", b"\xff\xfe")], None),
        ([], None),
    ],
)
def test_a_key_has_its_holder(given, name):
    found = api_keys().find(given)
    assert name == (found and found.name)


def test_keys_are_off_without_any():
    assert not ApiKeys(CallerSettings(), Metrics(new_registry(), 10.0), FakeClock()).required
    assert api_keys().required


@pytest.mark.parametrize(
    "keys",
    [
        [{"name": "a", "key": A}, {"name": "b", "key": A}],
        [{"name": "a", "key": A}, {"name": "a", "key": B}],
        [{"name": "a", "key": "short"}],
        [{"name": "a", "key": A, "requests_per_second": 0}],
        [{"name": "a", "key": A, "requests_per_second": float("inf")}],
        [{"name": "a", "key": A, "max_sessions": -1}],
        [{"name": "a", "key": A, "requests": 3}],
        [{"name": "a/b", "key": A}],
    ],
)
def test_wrong_keys_are_refused(keys):
    with pytest.raises(ValidationError):
        CallerSettings.model_validate({"keys": keys})


async def test_requests_are_limited_by_key():
    clock = FakeClock()
    keys = api_keys(clock, requests_per_second=3)
    caller = keys.find(headers(x_api_key=A))
    for _ in range(3):
        await caller.take_request()
    with pytest.raises(CallerLimited, match="a has used up its requests per second") as caught:
        await caller.take_request()
    assert caught.value.retry_after == pytest.approx(1 / 3)
    await keys.find(headers(x_api_key=B)).take_request()
    clock.advance(0.34)
    await caller.take_request()


async def test_a_request_of_more_vectors_than_a_second_allows_is_paid_for_afterwards():
    clock = FakeClock()
    caller = api_keys(clock, vectors_per_second=100).find(headers(x_api_key=A))
    await caller.take_vectors(500)
    with pytest.raises(CallerLimited) as caught:
        await caller.take_vectors(1)
    assert caught.value.retry_after == pytest.approx(4.01)
    clock.advance(4.02)
    await caller.take_vectors(1)


def test_a_bucket_holds_one_second_at_most():
    clock = FakeClock()
    bucket = TokenBucket(10, clock.monotonic)
    clock.advance(3600)
    assert [bucket.take(1) for _ in range(10)] == [0.0] * 10
    assert bucket.take(1) > 0


def test_a_refused_request_takes_nothing():
    clock = FakeClock()
    bucket = TokenBucket(0.5, clock.monotonic)
    assert bucket.take(1) == 0
    for _ in range(100):
        assert bucket.take(1) == pytest.approx(2.0)
    clock.advance(2.0)
    assert bucket.take(1) == 0
