"""The tree of settings: ranges, secrets and URLs."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from service.settings import Settings

SECRET = "s3cret-s3cret-s3cret"


@pytest.mark.parametrize(
    "wrong",
    [
        {"engine": {"device": "tpu"}},
        {"engine": {"max_batch": 0}},
        {"engine": {"max_batch": 2**70}},
        {"engine": {"maxbatch": 3}},
        {"engine": {"device_states": 5}},
        {"port": 70000},
        {"host": ""},
        {"host": "http://localhost"},
        {"stable": "../phase-2"},
        {"limits": {"timeout_seconds": -1}},
        {"limits": {"timeout_seconds": float("inf")}},
        {"limits": {"timeout_seconds": float("nan")}},
        {"limits": {"timeout_seconds": 1e300}},
        {"sessions": {"max_bytes": 2**80}},
        {"sessions": {"ttl_seconds": 0}},
        {"rollout": {"interval_seconds": float("inf")}},
        {"rollout": {"prometheus_url": "prometheus:9090"}},
        {"rollout": {"prometheus_url": "http://prometheus:9090/?token=x"}},
        {"rollout": {"prometheus_key": "/key"}},
        {"rollout": {"prometheus_token": "two words"}},
        {"rollout": {"prometheus_url": "http://u:p@prometheus", "prometheus_token": "t"}},
        {"rollout": {"webhooks": [{"url": "ftp://example.org"}]}},
        {"rollout": {"webhooks": [{"url": "https://"}]}},
        {"rollout": {"webhooks": [{"url": "https://user:word@a.example"}]}},
        {"rollout": {"webhooks": [{"url": "https://a.example/T/s3 cret"}]}},
        {"rollout": {"webhooks": [{"url": "https://a.example:hook/T"}]}},
        {"rollout": {"webhooks": [{"url": "https://a.example", "secret": "short"}]}},
        {"rollout": {"webhooks": [{"url": "https://a.example", "secret": "whsec_?"}]}},
        {"rollout": {"webhooks": [{"url": "https://a.example"}, {"url": "https://a.example/2"}]}},
        {"admin": {"viewer_token": "short"}},
        {"admin": {"viewer_token": f"{SECRET}\n"}},
        {"admin": {"viewer_token": f" {SECRET}"}},
        {"admin": {"viewer_token": f"{SECRET}ü"}},
    ],
)
def test_a_wrong_setting_is_refused(wrong):
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"admin": {"viewer_token": f"{SECRET}\n"}},
        {"rollout": {"prometheus_url": f"http://user:{SECRET}@"}},
        {"rollout": {"webhooks": [{"url": f"https://user:{SECRET}@a.example"}]}},
        {"rollout": {"webhooks": [{"url": "https://a.example", "secret": f"whsec_{SECRET}"}]}},
    ],
)
def test_an_error_does_not_quote_a_secret(wrong):
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(wrong)
    assert SECRET not in str(caught.value)


def test_settings_do_not_show_their_secrets():
    """Not in a log line that prints them. The URL of a webhook may be all its receiver checks."""
    settings = Settings.model_validate(
        {
            "admin": {"viewer_token": SECRET},
            "rollout": {
                "prometheus_url": f"http://user:{SECRET}@prometheus:9090/x",
                "webhooks": [{"url": f"https://hooks.example/{SECRET}", "secret": SECRET}],
            },
        }
    )
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert SECRET not in shown
    (hook,) = settings.rollout.webhooks
    assert ("hooks.example", SECRET.encode()) == (hook.label, hook.key)
