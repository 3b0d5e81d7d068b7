"""A transition as a webhook receives it: the message and its signature. Pure.

The body is a Slack message with fields for programs beside it. Signatures follow the Standard
Webhooks specification (standardwebhooks.com), so every library for it can verify them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import standardwebhooks

from service.observability.log_format import escape

# Slack's limits for a header, a field and a text, with room for the escapes.
_HEADER, _FIELD, _TEXT = 150, 1900, 2800


def message_id(row: Mapping[str, Any]) -> str:
    """The same for every delivery of a transition, and different for any other transition."""
    return f"nextvec-{row['id']}-{round(row['at'] * 1000)}"


def body(row: Mapping[str, Any]) -> bytes:
    """The message for a row of the audit log, as JSON."""
    title = _title(row)
    why = _shorten(escape(row["message"]), _TEXT)
    # Rows stored by earlier versions have no headline.
    headline = row.get("headline")
    told = f"nextvec: {_shorten(escape(headline), _TEXT)}" if headline else f"{title}: {why}"
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
            "text": _escape(told),
            "blocks": [
                {
                    "type": "header",
                    "text": {"type": "plain_text", "text": escape(title)[:_HEADER]},
                },
                {"type": "section", "text": {"type": "mrkdwn", "text": _escape(told)}},
                {
                    "type": "section",
                    "fields": [
                        {
                            "type": "mrkdwn",
                            "text": f"*{name}*\n{_escape(_shorten(escape(value), _FIELD))}",
                        }
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
    """The headers of one delivery at `now`, in epoch seconds; signed if there is a `key`."""
    identity = message_id(row)
    fields = {
        "Content-Type": "application/json",
        "User-Agent": "nextvec",
        "webhook-id": identity,
        "webhook-timestamp": str(int(now)),
    }
    if key is not None:
        fields["webhook-signature"] = sign(key, identity, int(now), content)
    return fields


def sign(key: bytes, identity: str, timestamp: int, content: bytes) -> str:
    """The value of `webhook-signature`; `timestamp` is in whole epoch seconds."""
    at = datetime.fromtimestamp(timestamp, UTC)
    return standardwebhooks.Webhook(key).sign(identity, at, content.decode())


def _title(row: Mapping[str, Any]) -> str:
    canary = row["canary"] or row["stable"]
    stopped = "stopped" if row["reason"] == "aborted" else "rolled back"
    return {
        "RolledBack": f"nextvec: {canary} is {stopped}",
        "Healthy": f"nextvec: {row['stable']} is stable",
        "Progressing": f"nextvec: {canary} {_share(row['weight_percent'])}",
        "Paused": f"nextvec: the rollout of {canary} is paused ({row['reason']})",
    }.get(row["to"], f"nextvec: {canary} is {row['to']}")


def _share(percent: float) -> str:
    return f"gets {percent:g} % of new requests" if percent else "runs on copies of requests"


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _escape(text: str) -> str:
    """Escape what Slack would read as a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
