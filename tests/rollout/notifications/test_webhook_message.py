"""The message of a webhook: text for people, fields for programs, and a signature."""

from __future__ import annotations

import json
import re
import time
from base64 import b64decode
from pathlib import Path

import pytest
import standardwebhooks

from service.rollout.notifications import webhook_message

ROOT = Path(__file__).parents[3]
ROW = {
    "id": 12,
    "at": 1_700_000_000.25,
    "generation": 12,
    "actor": "approver",
    "reason": "aborted",
    "note": "<!channel> & co",
    "from": "Progressing",
    "to": "RolledBack",
    "step": 1,
    "weight_percent": 0.0,
    "stable": "phase-2",
    "canary": "phase-3",
    "message": "phase-2 has all traffic",
    "headline": "phase-3 was stopped by approver (<!channel> & co).",
    "evidence": None,
    "gate_missed": None,
}


def test_the_message_says_what_why_and_who():
    message = json.loads(webhook_message.body(ROW))
    told = "nextvec: phase-3 was stopped by approver (&lt;!channel&gt; &amp; co)."
    assert told == message["text"]
    header, headline, section, why = message["blocks"]
    assert "nextvec: phase-3 is stopped" == header["text"]["text"]
    assert told == headline["text"]["text"]
    fields = [field["text"] for field in section["fields"]]
    assert "*Phase*\nProgressing → RolledBack" in fields
    assert "*Canary's weight*\n0 %" in fields
    assert "phase-2 has all traffic" == why["text"]["text"]


def test_a_row_of_an_earlier_version_has_no_headline():
    row = {name: value for name, value in ROW.items() if name != "headline"}
    message = json.loads(webhook_message.body(row))
    assert "nextvec: phase-3 is stopped: phase-2 has all traffic" == message["text"]


def test_the_data_is_the_row_of_the_audit_log():
    message = json.loads(webhook_message.body(ROW))
    assert ROW == message["data"]
    assert "rollout.transition" == message["type"]
    assert "2023-11-14T22:13:20.250+00:00" == message["timestamp"]


def test_no_text_becomes_a_mention():
    """Slack reads <!channel> as one."""
    shown = json.dumps(json.loads(webhook_message.body(ROW))["blocks"])
    assert "&lt;!channel&gt; &amp; co" in shown
    assert "<!channel>" not in shown


def test_control_characters_are_shown_escaped():
    """A webhook's text may end in a terminal."""
    shown = webhook_message.body({**ROW, "note": "\x1b[2J\u202e\n*x*", "message": "\x07"})
    texts = json.dumps(json.loads(shown)["blocks"])
    assert r"\\x1b[2J\\u202e\\n*x*" in texts
    assert r"\\x07" in texts
    assert r"\u001b" not in texts


def test_a_long_message_is_cut_where_slack_would_refuse_it():
    message = json.loads(
        webhook_message.body({**ROW, "message": "x" * 10_000, "note": "y" * 10_000})
    )
    assert len(message["blocks"][3]["text"]["text"]) <= 3000
    assert all(len(field["text"]) <= 2000 for field in message["blocks"][2]["fields"])


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"to": "Healthy", "stable": "phase-3", "canary": None}, "phase-3 is stable"),
        ({"to": "Paused", "reason": "no_data"}, "the rollout of phase-3 is paused (no_data)"),
        ({"to": "Progressing", "weight_percent": 25.0}, "phase-3 gets 25 % of new requests"),
        ({"to": "Progressing"}, "phase-3 runs on copies of requests"),
        ({"to": "WarmingUp"}, "phase-3 is WarmingUp"),
        ({"to": "Healthy", "from": None, "canary": None}, "phase-2 is stable"),
    ],
)
def test_each_transition_has_a_title(changes, title):
    (header, *_) = json.loads(webhook_message.body({**ROW, **changes}))["blocks"]
    assert f"nextvec: {title}" == header["text"]["text"]


def test_the_signature_is_the_specifications():
    """The example that Standard Webhooks libraries are tested with."""
    key = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    content = b'{"test": 2432232314}'
    signed = webhook_message.sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, content)
    assert "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" == signed


def test_an_id_belongs_to_one_transition_and_stays():
    assert webhook_message.message_id(ROW) == webhook_message.message_id(dict(ROW))
    others = [{**ROW, "id": 13}, {**ROW, "at": ROW["at"] + 1}]
    assert webhook_message.message_id(ROW) not in [
        webhook_message.message_id(row) for row in others
    ]


def test_without_a_key_nothing_is_signed():
    assert "webhook-signature" not in webhook_message.headers(ROW, b"{}", None, 5.0)


def test_the_receiver_in_the_documentation_verifies_it(monkeypatch):
    """And refuses another body, an old one, and another secret."""
    page = (ROOT / "docs/how-to/run-a-rollout.md").read_text()
    code = re.search(r"```python\n(.*?def verify.*?)```", page, re.DOTALL)[1]
    scope = {}
    exec(code, scope)
    monkeypatch.setattr(scope["time"], "time", lambda: 1_700_000_100.0)
    verify, content = scope["verify"], webhook_message.body(ROW)
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = webhook_message.headers(ROW, content, b64decode(secret[6:]), 1_700_000_000.9)
    assert verify(secret, headers, content)
    assert not verify(secret, headers, content + b" ")
    assert not verify("whsec_" + secret[6:].swapcase(), headers, content)
    assert not verify(secret, {**headers, "webhook-timestamp": "1700000001"}, content)
    monkeypatch.setattr(scope["time"], "time", lambda: 1_700_000_400.0)
    assert not verify(secret, headers, content)


def test_the_librarys_receiver_verifies_it():
    """At the present, because the library reads the system's clock."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    content = webhook_message.body(ROW)
    headers = webhook_message.headers(ROW, content, b64decode(secret[6:]), time.time())
    assert json.loads(content) == standardwebhooks.Webhook(secret).verify(content, headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(content + b" ", headers)
