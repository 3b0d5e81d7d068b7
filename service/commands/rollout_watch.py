"""Follows a rollout: `nextvec rollout status --watch` and `nextvec rollout wait`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live

from service.commands.admin_client import UnreachableError
from service.commands.rollout_view import as_of, clock_time, headline, standing_text, weights_line
from service.commands.terminal import discard_output, make_console, plain_text, print_json_line
from service.observability.log_format import escape

WATCH_SECONDS = 1.0

REMINDER_SECONDS = 30.0
"""A wait without a change says after so long how the rollout stands."""

FIRST_CONTACT_SECONDS = 30.0
"""A service that has not answered for so long is probably not at this address."""

BAR_CELLS = 14

ENDED = frozenset({"idle", "rolled_back", "stopped", "promoted"})
"""The outlooks without a rollout in progress."""

HELD = frozenset({"needs_you", "paused"})


class WaitStatus(IntEnum):
    """The exit status of `nextvec rollout wait`."""

    PROMOTED = 0
    ENDED = 2
    HELD = 3
    TIMEOUT = 124


class StatusSource(Protocol):
    """Where the status comes from: the admin API."""

    def status(self) -> dict[str, Any]: ...


def watch(
    client: StatusSource,
    *,
    as_json: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show the status until the rollout has ended: on a terminal in six lines that are redrawn,
    else a line a change; with `as_json`, the whole status as one line of JSON a change.

    A service that does not answer is asked again. Raises `SystemExit` if the first request
    fails, or when the service refuses one.
    """
    console = make_console()
    first = client.status()
    try:
        if as_json:
            _watch_in_lines(client, first, sleep, print_json_line)
        elif console.is_terminal:
            _watch_on_terminal(client, console, first, sleep)
        else:
            _watch_in_lines(client, first, sleep, lambda status: _print_line(status_line(status)))
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        discard_output()  # the reader has read enough


def wait(
    client: StatusSource,
    timeout: float,
    *,
    through_pauses: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> tuple[WaitStatus, dict[str, Any] | None]:
    """Wait until the rollout has ended, or is held until a person decides.

    Returns the exit status and the last status that was read. A line a change goes to stderr, and
    one every `REMINDER_SECONDS` without a change.
    A service that does not answer is asked again until the `timeout`, in seconds. With
    `through_pauses`, a pause does not end the wait. Raises `SystemExit` when the service
    refuses a request, or has not answered once in `FIRST_CONTACT_SECONDS`.
    """
    began = now()
    deadline = began + timeout
    line, lost, status, told_at = "", False, None, began
    while True:
        try:
            status = client.status()
        except UnreachableError as error:
            if status is None and now() - began >= FIRST_CONTACT_SECONDS:
                raise
            if not lost:
                _print_line(f"{error}; trying again", to=sys.stderr)
            lost = True
        else:
            lost = False
            if (told := change_line(status)) != line or now() - told_at >= REMINDER_SECONDS:
                line, told_at = told, now()
                _print_line(status_line(status), to=sys.stderr)
            ended = exit_status(status, through_pauses=through_pauses)
            if ended is not None:
                return ended, status
        left = deadline - now()
        if left <= 0:
            return WaitStatus.TIMEOUT, status
        sleep(min(WATCH_SECONDS, left))


def exit_status(status: dict[str, Any], *, through_pauses: bool = False) -> WaitStatus | None:
    """The exit status of a wait that sees this status; None to go on waiting."""
    outlook = status["outlook"]
    if status["phase"] == "Promoting":
        return None
    if outlook in {"promoted", "idle"}:
        return WaitStatus.PROMOTED
    if outlook in ENDED:
        return WaitStatus.ENDED
    return WaitStatus.HELD if outlook in HELD and not through_pauses else None


def has_ended(status: dict[str, Any]) -> bool:
    """Whether no rollout is in progress."""
    return status["outlook"] in ENDED and status["phase"] != "Promoting"


def change_line(status: dict[str, Any]) -> str:
    """What makes one status differ from the last: not the times and figures of the headline."""
    return f"{status['generation']} {status['outlook']}"


def status_line(status: dict[str, Any]) -> str:
    """Outlook, weight, step and headline in one line."""
    parts = [str(status["outlook"])]
    if status["canary"]:
        parts.append(f"weight={status['weight']['set_percent']:g}%")
    if status["step"] is not None:
        parts.append(f"step={status['step'] + 1}/{status['steps']}")
    return f"{' '.join(parts)}: {status['headline']}"


def watch_view(status: dict[str, Any], note: str = "") -> Group:
    """The status in six lines, each cut at the terminal's width. `note` replaces the last."""
    guardrails = status["guardrails"]
    stands = " · ".join(f"{g['label']}: {standing_text(g)}" for g in guardrails)
    hint = f"{as_of(status)}Ctrl-C ends the watch, not the rollout."
    lines = [
        headline(status),
        plain_text(f"Next: {status['next']['text']}"),
        plain_text(weights_line(status)),
        plain_text(_bars(status)),
        plain_text(stands or "No guardrail has been evaluated yet.", "dim"),
        plain_text(note or hint, "bold yellow" if note else "dim"),
    ]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines)


def _bars(status: dict[str, Any]) -> str:
    """How far the step is, how near a fail is, and the deadline."""
    ahead = status["next"]
    fractions = [condition["fraction"] for condition in ahead["conditions"]]
    done = min(fractions, default=0.0)
    failing = max((g["progress"]["fail"] for g in status["guardrails"]), default=0.0)
    parts = [f"step {_bar(done)} {100 * done:.0f} %", f"fail {_bar(failing)} {100 * failing:.0f} %"]
    if ahead["deadline_at"]:
        parts.append(f"deadline {clock_time(ahead['deadline_at'])}")
    return "   ".join(parts)


def _bar(fraction: float) -> str:
    full = int(fraction * BAR_CELLS)
    return f"[{'#' * full}{'-' * (BAR_CELLS - full)}]"


def _watch_on_terminal(
    client: StatusSource, console: Console, status: dict[str, Any], sleep: Callable[[float], None]
) -> None:
    with Live(watch_view(status), console=console, auto_refresh=False) as live:
        while not has_ended(status):
            sleep(WATCH_SECONDS)
            try:
                status = client.status()
            except UnreachableError as error:
                shown = f"{error}; trying again (as of {datetime.now(UTC):%H:%M:%S} UTC)"
                live.update(watch_view(status, shown), refresh=True)
            else:
                live.update(watch_view(status), refresh=True)
        live.update(watch_view(status, _end_note(status)), refresh=True)


def _end_note(status: dict[str, Any]) -> str:
    if status["outlook"] == "idle":
        return "No rollout is in progress."
    return "The rollout has ended."


def _watch_in_lines(
    client: StatusSource,
    first: dict[str, Any],
    sleep: Callable[[float], None],
    show: Callable[[dict[str, Any]], None],
) -> None:
    told = ""
    for status in _statuses(client, first, sleep):
        if (now := change_line(status)) != told:
            told = now
            show(status)
        if has_ended(status):
            return


def _statuses(
    client: StatusSource, first: dict[str, Any], sleep: Callable[[float], None]
) -> Iterator[dict[str, Any]]:
    """The first status and every later one. A lost connection is said once."""
    lost = False
    yield first
    while True:
        sleep(WATCH_SECONDS)
        try:
            status = client.status()
        except UnreachableError as error:
            if not lost:
                print(f"{error}; trying again", file=sys.stderr, flush=True)
            lost = True
            continue
        if lost:
            print("nextvec rollout: connected again", file=sys.stderr, flush=True)
        lost = False
        yield status


def _print_line(line: str, to: Any = None) -> None:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    print(f"{at} {escape(line)}", file=to or sys.stdout, flush=True)
