"""The rollout's status and history as terminal output."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from service.commands.terminal import plain_text

_OUTLOOK_STYLES = {
    "looks_good": "bold green",
    "promoted": "bold green",
    "leaning_to_fail": "bold red",
    "rolled_back": "bold red",
    "needs_you": "bold yellow",
    "paused": "bold yellow",
    "blind": "bold yellow",
}
_STANDING_STYLES = {
    "passed": "green",
    "failed": "red",
    "leaning_to_fail": "red",
    "error": "yellow",
}
_GUARDRAIL_COLUMNS = ("guardrail", "now", "canary", "stable", "difference", "limit")
_EVIDENCE_COLUMNS = ("guardrail", "ln E fail", "fails at", "ln E pass", "passes at")


def status_view(status: dict[str, Any], *, verbose: bool = False) -> Group:
    """Return headline, next action, weights and the guardrails' plain verdicts.

    `verbose` adds the arithmetic of each verdict.
    """
    parts: list[Any] = [headline(status)]
    if status["next"]["text"]:
        parts.append(plain_text(f"Next: {status['next']['text']}"))
    parts.append(plain_text(weights_line(status), "dim"))
    guardrails = status["guardrails"]
    if guardrails:
        parts += [Text(), _guardrails(guardrails)]
        if status["step"] is not None and any(each["required"] for each in guardrails):
            parts.append(plain_text("* must pass before the step ends", "dim"))
        parts += [
            plain_text(f"{each['label']} is {each['interval']['text']} (plausible range)")
            for each in guardrails
            if each.get("interval")
        ]
    if status["gate"] is not None and status["gate"]["overridden"]:
        missed = "; ".join(miss["message"] for miss in status["gate"]["missed"])
        parts.append(plain_text(f"gate overridden: {missed}", "yellow"))
    parts += [plain_text(line, "yellow") for line in fleet_warnings(status)]
    if verbose:
        parts += _arithmetic(status)
    legal = ", ".join(status["legal"]) or "wait a moment"
    parts.append(plain_text(f"{as_of(status)}You may: {legal}", "dim"))
    return Group(*parts)


def fleet_warnings(status: dict[str, Any]) -> list[str]:
    """Return what keeps this replica's canary out of traffic, and whether nobody evaluates."""
    fleet = status.get("fleet")
    if not fleet:
        return []
    lines = []
    if fleet["withheld"]:
        lines.append(f"This replica keeps the canary out of traffic: {fleet['withheld']}.")
    if not fleet["leader"]:
        lines.append("No replica evaluates the rollout now.")
    return lines


def headline(status: dict[str, Any]) -> Text:
    """Return the headline in the outlook's colour."""
    return plain_text(status["headline"], _OUTLOOK_STYLES.get(status["outlook"], "bold"))


def weights_line(status: dict[str, Any]) -> str:
    """Return both versions with their weights, the step and the phase."""
    weight = status["weight"]["set_percent"]
    parts = [f"stable {status['stable']} {100 - weight:g} %"]
    if status["canary"] and status["step"] is not None:
        parts.append(f"canary {status['canary']} {weight:g} %")
    if status["step"] is not None:
        parts.append(f"step {status['step'] + 1} of {status['steps']}")
    parts.append(str(status["phase"]))
    return "   ".join(parts)


def as_of(status: dict[str, Any]) -> str:
    """Return when the evidence was evaluated, as a sentence; empty without a rollout."""
    if not status["looked_at"] or status["step"] is None:
        return ""
    return f"Evaluated at {clock_time(status['looked_at'])}. "


def clock_time(at: float) -> str:
    """Return a time of day with its zone; `at` is in epoch seconds."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def standing_text(guardrail: dict[str, Any]) -> str:
    """Return how near a guardrail is to a verdict, in a few words."""
    passing, failing = (100 * guardrail["progress"][side] for side in ("pass", "fail"))
    texts = {
        "passed": "passed",
        "failed": "failed",
        "leaning_to_pass": f"{passing:.0f} % to a pass",
        "collecting": f"{passing:.0f} % to a pass",
        "leaning_to_fail": f"{failing:.0f} % to a fail",
        "watching": "nothing found",
        "no_data": "no data yet",
        "error": "cannot be judged",
    }
    return texts.get(guardrail["standing"], str(guardrail["standing"]))


def preview_lines(answer: dict[str, Any]) -> list[Text]:
    """Return a line for each transition that a dry run previews."""
    return [
        plain_text(
            f"Preview, nothing was changed: {move['from']} → {move['to']} ({move['reason']}) "
            f"at {move['weight_percent']:g} %",
            "bold yellow",
        )
        for move in answer.get("transitions", ())
    ]


def history_lines(
    rows: list[dict[str, Any]], *, verbose: bool = False, one_line: bool = False
) -> list[Text]:
    """Return the audit log, newest entry first: who did what, and how the rollout stood then.

    `verbose` shows the arithmetic instead of the headline. An entry takes two lines, or one
    with `one_line`, which is for programs that read lines.
    """
    lines = []
    for row in rows:
        time = datetime.fromtimestamp(row["at"], UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        told = (None if verbose else row.get("headline")) or row["message"]
        # The headline of a stop or a pause has the person's reason already.
        note = f" – {row['note']}" if row["note"] and row["note"] not in told else ""
        move = f"{row['from'] or '–'} → {row['to']}"
        head = f"{time}  {row['actor']}  {move}  {row['weight_percent']:g} %"
        if one_line:
            lines.append(plain_text(f"{head}  {told}{note}"))
        else:
            lines += [plain_text(head, "bold"), plain_text(f"  {told}{note}")]
    return lines


def _guardrails(guardrails: list[dict[str, Any]]) -> Table:
    rows = []
    for each in sorted(guardrails, key=_nearness):
        mark = "* " if each["required"] else "  "
        rows.append(
            (
                f"{mark}{each['label']}",
                standing_text(each),
                _value(each["canary"], each["value_unit"]),
                _value(each["stable"], each["value_unit"]),
                _difference(each["difference"], each["difference_kind"]),
                _limit(each),
            )
        )
    styles = [
        _STANDING_STYLES.get(each["standing"], "") for each in sorted(guardrails, key=_nearness)
    ]
    return _table(_GUARDRAIL_COLUMNS, rows, right=("canary", "stable", "difference"), styles=styles)


def _nearness(guardrail: dict[str, Any]) -> tuple[float, bool]:
    """Sorts the guardrail that is nearest to a fail first, then those that must pass."""
    failing = guardrail["progress"]["fail"]
    leaning = failing if guardrail["standing"] in {"failed", "leaning_to_fail"} else 0.0
    return -leaning, not guardrail["required"]


def _arithmetic(status: dict[str, Any]) -> list[Any]:
    """The evidence of each guardrail in numbers, and the messages with their arithmetic."""
    rows = []
    for each in status["guardrails"]:
        evidence = each["log_evidence"]
        # A shadow step has limits to meet, but no sequential test.
        numbers = (evidence["fail"], evidence["bound"], evidence["pass"], evidence["pass_bound"])
        rows.append((each["label"], *(f"{n:.2f}" if evidence["bound"] else "–" for n in numbers)))
    parts: list[Any] = [Text(), plain_text(status["message"])]
    if rows:
        parts += [Text(), _table(_EVIDENCE_COLUMNS, rows, right=_EVIDENCE_COLUMNS[1:])]
        parts += [plain_text(f"{g['name']}: {g['message']}", "dim") for g in status["guardrails"]]
    return parts


def _table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    styles: Sequence[str] = (),
) -> Table:
    """A table without lines. `styles` are those of the second column, row by row."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    for i, row in enumerate(rows):
        style = styles[i] if styles else ""
        table.add_row(
            *(plain_text(cell, style if k == 1 else "") for k, cell in enumerate(row)),
        )
    return table


def _value(value: float | None, unit: str | None) -> str:
    if value is None:
        return "–"
    if unit == "share":
        return f"{100 * value:.3g} %"
    return f"{value * 1000:.3g} ms" if value < 0.9995 else f"{value:.3g} s"


def _difference(difference: float | None, kind: str | None) -> str:
    if difference is None:
        return "–"
    return f"{difference:+.2g} points" if kind == "points" else f"{difference:.2f}×"


def _limit(guardrail: dict[str, Any]) -> str:
    limit, kind = guardrail["limit"], guardrail["difference_kind"]
    if limit is None:
        return "–"
    sign = "≥" if guardrail["direction"] == "at_least" else "≤"
    return f"{sign} {limit:+.3g}" if kind == "points" else f"{sign} {limit:.3g}×"
