"""`nextvec rollout status --watch`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live

from service.commands.admin_client import AdminClient, UnreachableError
from service.commands.rollout_view import status_view
from service.commands.terminal import discard_output, plain_text
from service.observability.log_format import escape

WATCH_SECONDS = 1.0


def watch(client: AdminClient, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show the status until interrupted: on a terminal the present one, else a line a change.

    A service that does not answer is asked again. Raises `SystemExit` if the first request
    fails, or when the service refuses one.
    """
    console = Console()
    first = client.status()
    try:
        if console.is_terminal:
            _watch_on_terminal(client, console, first, sleep)
        else:
            _watch_in_lines(client, first, sleep)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        discard_output()  # the reader has read enough


def _watch_on_terminal(
    client: AdminClient, console: Console, status: dict[str, Any], sleep: Callable[[float], None]
) -> None:
    with Live(status_view(status), console=console, auto_refresh=False) as live:
        while True:
            sleep(WATCH_SECONDS)
            try:
                status = client.status()
                live.update(status_view(status), refresh=True)
            except UnreachableError as error:
                note = plain_text(f"{error}; trying again", "bold yellow")
                live.update(Group(status_view(status), note), refresh=True)


def _watch_in_lines(
    client: AdminClient, status: dict[str, Any], sleep: Callable[[float], None]
) -> None:
    line = status_line(status)
    _print_line(line)
    lost = False
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
        if (now := status_line(status)) != line:
            line = now
            _print_line(line)


def status_line(status: dict[str, Any]) -> str:
    """Phase, versions, weight, step and message in one line."""
    parts = [f"{status['phase']} generation={status['generation']} stable={status['stable']}"]
    if status["canary"]:
        parts.append(f"canary={status['canary']} weight={status['weight']['set_percent']:g}%")
    if status["step"] is not None:
        parts.append(f"step={status['step'] + 1}/{status['steps']}")
    return escape(f"{' '.join(parts)}: {status['message']}")


def _print_line(line: str) -> None:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    print(f"{at} {line}", flush=True)
