"""What a webhook says of a transition, and how it is signed. Pure.

The body is a message as Slack takes it, with the facts beside it for programs.
Signatures follow the Standard Webhooks specification (standardwebhooks.com), so
that its libraries verify them: `webhook-id`, `webhook-timestamp`, and
`webhook-signature: v1,` with base64(HMAC-SHA256(secret, "id.timestamp.body")).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

# What Slack takes of a header, a field and a text, with room for the escapes.
_HEADER, _FIELD, _TEXT = 150, 1900, 2800


def identity(row: Mapping[str, Any]) -> str:
    """The same for every delivery of a transition, and for no other one."""
    return f"nextvec-{row['id']}-{round(row['at'] * 1000)}"


def body(row: Mapping[str, Any]) -> bytes:
    """The message for a line of the audit log, as JSON."""
    headline = _headline(row)
    why = _cut(row["message"], _TEXT)
    note = f" – {row['note']}" if row["note"] else ""
    at = datetime.fromtimestamp(row["at"], UTC).isoformat(timespec="milliseconds")
    fields = {
        "Phase": f"{row['from'] or '–'} → {row['to']}",
        "Canary's weight": f"{row['weight_percent']:g} %",
        "Stable": row["stable"],
        "Canary": row["canary"] or "–",
        "Reason": row["reason"],
        "By": f"{row['actor']}{note}",
    }
    return orjson.dumps(
        {
            "text": _escape(f"{headline}: {why}"),
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": headline[:_HEADER]}},
                {
                    "type": "section",
                    "fields": [
                        {"type": "mrkdwn", "text": f"*{name}*\n{_escape(_cut(value, _FIELD))}"}
                        for name, value in fields.items()
                    ],
                },
                {"type": "section", "text": {"type": "mrkdwn", "text": _escape(why)}},
            ],
            "type": "rollout.transition",
            "timestamp": at,
            "data": dict(row),
        }
    )


def headers(
    row: Mapping[str, Any], content: bytes, key: bytes | None, now: float
) -> dict[str, str]:
    """For one delivery at `now`, epoch seconds; signed where there is a `key`."""
    told = {
        "Content-Type": "application/json",
        "User-Agent": "nextvec",
        "webhook-id": identity(row),
        "webhook-timestamp": str(int(now)),
    }
    if key is not None:
        told["webhook-signature"] = signature(key, told["webhook-id"], int(now), content)
    return told


def signature(key: bytes, identity: str, timestamp: int, content: bytes) -> str:
    """`timestamp` in whole epoch seconds."""
    signed = b".".join((identity.encode(), str(timestamp).encode(), content))
    return f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}"


def _headline(row: Mapping[str, Any]) -> str:
    canary = row["canary"] or row["stable"]
    return {
        "RolledBack": f"nextvec: {canary} is rolled back",
        "Healthy": f"nextvec: {row['stable']} is stable",
        "Progressing": f"nextvec: {canary} {_share(row['weight_percent'])}",
        "Paused": f"nextvec: the rollout of {canary} is paused ({row['reason']})",
    }.get(row["to"], f"nextvec: {canary} is {row['to']}")


def _share(percent: float) -> str:
    return f"gets {percent:g} % of new requests" if percent else "runs on copies of requests"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _escape(text: str) -> str:
    """So that nobody's words become a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
