"""`nextvec rollout`: what the admin API does, for a person at a terminal."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from service.errors import Invalid
from service.rollout.plan.plan_file import load_plan

VERBS = ("pause", "resume", "promote", "abort", "retry", "undo")
_VERB_HELP = {
    "pause": "hold the weight; guardrails go on",
    "resume": "go on after a pause",
    "promote": "approve the step; on the last one, make the canary stable",
    "abort": "take the canary's share back",
    "retry": "the canary that was rolled back, with its plan, once more",
    "undo": "bring back the stable from before the last promotion",
}
WATCH_SECONDS = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the service")
    parser.add_argument("--token", help="bearer token; NEXTVEC_TOKEN where it is left out")
    actions = parser.add_subparsers(dest="action", required=True)
    status = actions.add_parser("status", help="phase, weight, and why")
    status.add_argument("--watch", action="store_true", help="go on until interrupted")
    status.add_argument("--json", action="store_true", help="as the API says it")
    start = actions.add_parser("start", help="begin a rollout")
    start.add_argument("canary", help="a version of the repository")
    start.add_argument(
        "--plan", type=Path, help="YAML or JSON file; the service's own where left out"
    )
    start.add_argument("--reason", default="", help="kept in the audit log")
    start.add_argument(
        "--override-gate",
        action="store_true",
        help="though the canary misses the plan's gate: an approver, with --reason",
    )
    _change(start)
    for verb in VERBS:
        action = actions.add_parser(verb, help=_VERB_HELP[verb])
        action.add_argument("--reason", default="", help="kept in the audit log")
        _change(action)
        if verb == "promote":
            action.add_argument("--force", action="store_true", help="before the guardrails pass")
    history = actions.add_parser("history", help="the audit log, newest first")
    history.add_argument("--limit", type=int, default=20)


def _change(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would happen, and change nothing"
    )
    parser.add_argument(
        "--idempotency-key",
        help="the same command with the same key is done once, however often it is sent",
    )


def run(args: argparse.Namespace) -> int:
    api = _Api(args.url, args.token or os.environ.get("NEXTVEC_TOKEN", ""))
    console = Console()
    if args.action == "status":
        return _status(api, console, watch=args.watch, as_json=args.json)
    if args.action == "history":
        console.print(_history(api.call("GET", f"/history?limit={args.limit}")))
        return 0
    if args.action == "start":
        body: dict[str, object] = {"canary": args.canary, "reason": args.reason}
        if args.plan is not None:
            body["plan"] = _plan(args.plan)
        if args.override_gate:
            if not args.reason.strip():
                raise SystemExit("nextvec rollout: --override-gate needs --reason: say why")
            body["override_gate"] = True
        _tell(console, api.change("", body, args))
        return 0
    # What this person saw is what they decide on: a stale view is refused.
    seen = api.call("GET", "")
    body = {"reason": args.reason}
    _tell(console, api.change(f"/{args.action}", body, args, generation=int(seen["generation"])))
    return 0


def _tell(console: Console, answer: dict[str, Any]) -> None:
    console.print(render(answer))
    for move in answer.get("transitions", ()):
        console.print(
            f"would be: {move['from']} → {move['to']} ({move['reason']}) "
            f"at {move['weight_percent']:g} %; nothing was changed"
        )


def render(status: dict[str, Any]) -> Group:
    """The status as a person reads it: phase, why, weight, figures, what may be done."""
    head = Text(f"{status['phase']}", style=_STYLES.get(status["phase"], "bold"))
    head.append(f"  {status['message']}", style="default")
    weight = status["weight"]["set_percent"]
    versions = f"stable {status['stable']} {100 - weight:g} %"
    if status["canary"]:
        versions += f"   canary {status['canary']} {weight:g} %"
    if status["step"] is not None:
        versions += f"   step {status['step'] + 1} of {status['steps']}"
    table = Table(box=None, pad_edge=False)
    for name in ("guardrail", "outcome", "ratio", "limit", "ln E fail", "ln E pass", "needed"):
        table.add_column(name, justify="left" if name in {"guardrail", "outcome"} else "right")
    for guardrail in status["guardrails"]:
        evidence = guardrail["log_evidence"]
        ratio = guardrail["ratio"]
        table.add_row(
            guardrail["name"],
            guardrail["outcome"],
            "–" if ratio is None else f"{ratio:.2f}",
            f"{guardrail['threshold']:.4g}",
            *(
                # A shadow step has figures to meet, and no test.
                f"{evidence[side]:.2f}" if evidence["bound"] else "–"
                for side in ("fail", "pass", "bound")
            ),
        )
    parts: list[Any] = [head, versions]
    if status["guardrails"]:
        told = (Text(f"{g['name']}: {g['message']}", style="dim") for g in status["guardrails"])
        parts += [table, *told]
    if status["gate"] is not None and status["gate"]["overridden"]:
        words = "; ".join(miss["message"] for miss in status["gate"]["missed"])
        parts.append(Text(f"gate overridden: {words}", style="yellow"))
    parts.append(Text(f"may now: {', '.join(status['legal']) or 'nothing'}", style="dim"))
    return Group(*parts)


_STYLES = {"Healthy": "bold green", "RolledBack": "bold red", "Paused": "bold yellow"}


class _Api:
    """The admin API; a refusal ends the command with the service's own words."""

    def __init__(self, url: str, token: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise SystemExit(f"nextvec rollout: --url {url!r} is not an http(s) address")
        self._base = url.rstrip("/") + "/admin/v1/rollout"
        self._token = token

    def change(
        self, path: str, body: object, args: argparse.Namespace, generation: int | None = None
    ) -> Any:
        """A verb, on the terms of the command's options."""
        asked = {"force": "true"} if getattr(args, "force", False) else {}
        asked |= {"dryRun": "All"} if args.dry_run else {}
        query = f"?{urllib.parse.urlencode(asked)}" if asked else ""
        headers = {} if generation is None else {"If-Match": f'"{generation}"'}
        if args.idempotency_key is not None:
            headers["Idempotency-Key"] = args.idempotency_key
        return self.call("POST", path + query, body, headers)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        more: Mapping[str, str] | None = None,
    ) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        headers |= more or {}
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(  # noqa: S310  the scheme was checked above
                self._base + path, data, headers, method=method
            )
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  as above
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"nextvec rollout: {_refusal(error)}") from error
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise SystemExit(
                f"nextvec rollout: no answer from {self._base}: {reason}; is the service running?"
            ) from error
        except (http.client.HTTPException, ValueError) as error:
            # Broken HTTP, no JSON, or an address or a token that no request can hold.
            raise SystemExit(_not_ours(self._base, repr(error))) from error
        history = path.startswith("/history")
        if not (isinstance(said, list) if history else isinstance(said, dict) and "phase" in said):
            raise SystemExit(_not_ours(self._base, "an answer of another form"))
        return said


def _not_ours(base: str, what: str) -> str:
    return f"nextvec rollout: {what} at {base}: check --url and the token; is that nextvec?"


def _refusal(error: urllib.error.HTTPError) -> str:
    try:
        content = json.load(error)
        said = str(content["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"
    if error.code in {401, 403}:
        said += "; give --token or set NEXTVEC_TOKEN"
    return said


def _plan(path: Path) -> object:
    try:
        return load_plan(path).model_dump(mode="json", exclude_unset=True)
    except Invalid as error:
        raise SystemExit(f"nextvec rollout: {error}") from error


def _status(api: _Api, console: Console, *, watch: bool, as_json: bool) -> int:
    status = api.call("GET", "")
    if as_json:
        console.print_json(data=status)
        return 0
    if not watch:
        console.print(render(status))
        return 0
    with Live(render(status), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(WATCH_SECONDS)
            live.update(render(api.call("GET", "")), refresh=True)


def _history(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("when", "who", "from", "to", "weight", "why"):
        table.add_column(name)
    for row in rows:
        when = datetime.fromtimestamp(row["at"], UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        why = row["message"] + (f" – {row['note']}" if row["note"] else "")
        percent = row["weight_percent"]
        table.add_row(when, row["actor"], row["from"], row["to"], f"{percent:g} %", why)
    return table
