"""Settings: read once, and refused when wrong."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from service.settings import Settings


def test_the_environment_is_read(monkeypatch):
    monkeypatch.setenv("NEXTVEC_ENGINE__DEVICE", "cuda")
    monkeypatch.setenv("NEXTVEC_STABLE", "phase-7")
    settings = Settings()
    assert (settings.engine.device, settings.stable) == ("cuda", "phase-7")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NEXTVEC_ENGINE__DEVICE", "tpu"),
        ("NEXTVEC_ENGINE__MAX_BATCH", "0"),
        ("NEXTVEC_ENGINE__MAXBATCH", "3"),
        ("NEXTVEC_PORT", "70000"),
        ("NEXTVEC_LIMITS__TIMEOUT_SECONDS", "-1"),
        ("NEXTVEC_ROLLOUT__PROMETHEUS_URL", "prometheus:9090"),
        ("NEXTVEC_ROLLOUT__WEBHOOKS", '[{"url": "ftp://example.org"}]'),
        ("NEXTVEC_ROLLOUT__WEBHOOKS", '[{"url": "https://"}]'),
        ("NEXTVEC_ROLLOUT__WEBHOOKS", '[{"url": "https://user:word@a.example"}]'),
        ("NEXTVEC_ROLLOUT__WEBHOOKS", '[{"url": "https://a.example/T/s3 cret"}]'),
        ("NEXTVEC_ROLLOUT__WEBHOOKS", '[{"url": "https://a.example:hook/T"}]'),
        ("NEXTVEC_ROLLOUT__WEBHOOKS", '[{"url": "https://a.example", "secret": "short"}]'),
        ("NEXTVEC_ROLLOUT__WEBHOOKS", '[{"url": "https://a.example", "secret": "whsec_?"}]'),
        (
            "NEXTVEC_ROLLOUT__WEBHOOKS",
            '[{"url": "https://a.example"}, {"url": "https://a.example/2"}]',
        ),
    ],
)
def test_a_wrong_setting_is_refused(monkeypatch, name, value):
    """Also a misspelt one: it would silently not apply."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_a_token_does_not_show_itself():
    """Not in a log line that prints the settings."""
    assert "s3cret" not in repr(Settings(admin={"viewer_token": "s3cret"}))


def test_neither_does_a_webhook(monkeypatch):
    """Whose address may be all that its receiver checks."""
    secret = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="
    told = [{"url": "https://hooks.example/T/s3cret", "secret": secret}]
    monkeypatch.setenv("NEXTVEC_ROLLOUT__WEBHOOKS", json.dumps(told))
    settings = Settings()
    assert "s3cret" not in repr(settings)
    assert "c2VjcmV0" not in repr(settings)
    (hook,) = settings.rollout.webhooks
    assert ("hooks.example", b"secret-secret-secret") == (hook.label, hook.key)
