"""The rollout's status and history as terminal output."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from service.commands.terminal import plain_text

_STYLES = {"Healthy": "bold green", "RolledBack": "bold red", "Paused": "bold yellow"}
_GUARDRAIL_COLUMNS = ("guardrail", "outcome", "ratio", "limit", "ln E fail", "ln E pass", "needed")
_HISTORY_COLUMNS = ("time", "actor", "from", "to", "weight", "reason")


def status_view(status: dict[str, Any]) -> Group:
    """Return phase, reason, weights, guardrails and the legal actions."""
    head = plain_text(status["phase"], _STYLES.get(status["phase"], "bold"))
    head.append_text(plain_text(f"  {status['message']}", "default"))
    parts: list[Any] = [head, _versions(status)]
    if status["guardrails"]:
        messages = (plain_text(f"{g['name']}: {g['message']}", "dim") for g in status["guardrails"])
        parts += [_guardrails(status["guardrails"]), *messages]
    if status["gate"] is not None and status["gate"]["overridden"]:
        missed = "; ".join(miss["message"] for miss in status["gate"]["missed"])
        parts.append(plain_text(f"gate overridden: {missed}", "yellow"))
    legal = ", ".join(status["legal"]) or "none"
    parts.append(plain_text(f"legal actions: {legal}", "dim"))
    return Group(*parts)


def preview_lines(answer: dict[str, Any]) -> list[Text]:
    """Return a line for each transition that a dry run previews."""
    return [
        plain_text(
            f"preview: {move['from']} → {move['to']} ({move['reason']}) "
            f"at {move['weight_percent']:g} %; nothing was changed"
        )
        for move in answer.get("transitions", ())
    ]


def history_view(rows: list[dict[str, Any]]) -> Table:
    """Return the audit log as a table."""
    table = Table(box=None, pad_edge=False)
    for name in _HISTORY_COLUMNS:
        table.add_column(name)
    for row in rows:
        time = datetime.fromtimestamp(row["at"], UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        reason = row["message"] + (f" – {row['note']}" if row["note"] else "")
        percent = f"{row['weight_percent']:g} %"
        cells = (time, row["actor"], row["from"] or "–", row["to"], percent, reason)
        table.add_row(*map(plain_text, cells))
    return table


def _versions(status: dict[str, Any]) -> Text:
    weight = status["weight"]["set_percent"]
    versions = f"stable {status['stable']} {100 - weight:g} %"
    if status["canary"]:
        versions += f"   canary {status['canary']} {weight:g} %"
    if status["step"] is not None:
        versions += f"   step {status['step'] + 1} of {status['steps']}"
    return plain_text(versions)


def _guardrails(guardrails: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in _GUARDRAIL_COLUMNS:
        table.add_column(name, justify="left" if name in {"guardrail", "outcome"} else "right")
    for guardrail in guardrails:
        evidence, ratio = guardrail["log_evidence"], guardrail["ratio"]
        table.add_row(
            plain_text(guardrail["name"]),
            plain_text(guardrail["outcome"]),
            "–" if ratio is None else f"{ratio:.2f}",
            f"{guardrail['threshold']:.4g}",
            *(
                # A shadow step has limits to meet, but no sequential test.
                f"{evidence[side]:.2f}" if evidence["bound"] else "–"
                for side in ("fail", "pass", "bound")
            ),
        )
    return table
