"""`nextvec rollout`: watch and change the rollout of a running service."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from service.commands import rollout_plan, rollout_watch
from service.commands.admin_client import AdminClient, RefusedError
from service.commands.options import OutputFormat, duration, examples, new_app
from service.commands.rollout_view import headline, history_lines, preview_lines, status_view
from service.commands.terminal import make_console, plain_text, print_json, print_result
from service.commands.usage import GroupWithCommonOptions

DEFAULT_URL = "http://127.0.0.1:8080"

Reason = Annotated[str, typer.Option(help="Why; the audit log keeps it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Preview the change without making it.")]
IdempotencyKey = Annotated[
    str | None,
    typer.Option(help="Make a retry safe: a repeated key returns the first response again."),
]

app = new_app(cls=GroupWithCommonOptions, no_args_is_help=True)


@app.callback(
    help="Watch and change the rollout of a running service. The options may also stand after "
    "the command.",
    epilog=examples(
        "nextvec rollout status --watch",
        "nextvec rollout start phase-3 --reason 'longer context'",
        "nextvec rollout wait --timeout 30m",
        "NEXTVEC_URL=http://10.0.0.5:8080 nextvec rollout abort",
    ),
)
def _connect(
    context: typer.Context,
    url: Annotated[
        str, typer.Option(envvar="NEXTVEC_URL", help="Address of the service.")
    ] = DEFAULT_URL,
    token: Annotated[
        str,
        typer.Option(
            envvar="NEXTVEC_TOKEN",
            show_default=False,
            help="Bearer token; its role decides what is allowed.",
        ),
    ] = "",
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            help="PEM file of the authorities to trust for https; the default is SSL_CERT_FILE "
            "or the usual ones.",
        ),
    ] = None,
) -> None:
    context.obj = (url, token, ca)


@app.command(
    epilog=examples(
        "nextvec rollout status",
        "nextvec rollout status --verbose",
        "nextvec rollout status --watch",
        "nextvec rollout status -o json | jq -r .headline",
    )
)
def status(
    context: typer.Context,
    *,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Refresh every second until the rollout ends; into a pipe, print a line per "
            "change, with -o json the status.",
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Add the arithmetic of each verdict.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Same as --output json.")] = False,
    output: OutputFormat = "text",
) -> None:
    """Show how the rollout stands, what comes next, and each guardrail's verdict."""
    client = _client(context)
    as_json = json or output == "json"
    if watch:
        rollout_watch.watch(client, as_json=as_json)
    elif as_json:
        print_json(client.status())
    else:
        make_console().print(status_view(client.status(), verbose=verbose))


@app.command(
    help="Wait until the rollout ends or needs a person.\n\n"
    "The exit status is 0 if the canary is stable or there is no rollout, 2 if it was rolled back "
    "or stopped, 3 if it is paused or waits for a person, and 124 after the timeout.\n\n"
    "stderr says how it stands, at each change and every 30 s; the result is on stdout. "
    "A service that is away is asked again.",
    epilog=examples(
        "nextvec rollout wait --timeout 30m",
        "nextvec rollout start phase-3 && nextvec rollout wait --timeout 2h",
    ),
)
def wait(
    context: typer.Context,
    *,
    timeout: Annotated[
        float,
        typer.Option(
            parser=duration, metavar="TIME", help="Give up after this time: 90s, 30m, 2h."
        ),
    ] = "1h",  # type: ignore[assignment]  # the parser reads it
    through_pauses: Annotated[
        bool, typer.Option("--through-pauses", help="A pause does not end the wait.")
    ] = False,
    output: OutputFormat = "text",
) -> None:
    ended, last = rollout_watch.wait(_client(context), timeout, through_pauses=through_pauses)
    if output == "json":
        print_json(last)
    elif last is not None:
        make_console().print(headline(last))
    if ended is rollout_watch.WaitStatus.TIMEOUT:
        print("nextvec rollout wait: the time is up", file=sys.stderr)
    raise typer.Exit(int(ended))


@app.command(
    epilog=examples(
        "nextvec rollout history --limit 5", "nextvec rollout history | grep RolledBack"
    )
)
def history(
    context: typer.Context,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Entries to show.")] = 20,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the arithmetic of each verdict.")
    ] = False,
    output: OutputFormat = "text",
) -> None:
    """Show the audit log, newest entry first; into a pipe, one line an entry."""
    rows = _client(context).history(limit)
    if output == "json":
        print_json(rows)
    else:
        console = make_console()
        for line in history_lines(rows, verbose=verbose, one_line=not console.is_terminal):
            console.print(line)


@app.command(
    epilog=examples(
        "nextvec rollout plan --example > plan.yaml",
        "nextvec rollout plan plan.yaml",
        "nextvec rollout start phase-3 --plan plan.yaml",
    )
)
def plan(
    file: Annotated[Path | None, typer.Argument(help="Plan file (YAML or JSON).")] = None,
    *,
    example: Annotated[bool, typer.Option("--example", help="Print a plan to start from.")] = False,
    output: OutputFormat = "text",
) -> None:
    """Check a plan file and show its steps, or print an example. No service is needed."""
    if example:
        if file is not None:
            raise SystemExit("nextvec rollout: give a file or --example, not both")
        if output == "text":
            print(rollout_plan.EXAMPLE, end="")
            return
        chosen = rollout_plan.example_plan()
    elif file is None:
        raise SystemExit("nextvec rollout: give a plan file, or --example to print one")
    else:
        chosen = rollout_plan.read_plan(file)
    if output == "json":
        print_json(chosen.model_dump(mode="json"))
    else:
        make_console().print(rollout_plan.plan_view(chosen))


@app.command(
    epilog=examples(
        "nextvec rollout start phase-3",
        "nextvec rollout start phase-3 --plan plan.yaml --dry-run",
        "nextvec rollout start phase-3 --override-gate --reason 'gate data is stale'",
    )
)
def start(
    context: typer.Context,
    canary: Annotated[str, typer.Argument(help="Version in the model repository.")],
    *,
    plan: Annotated[
        Path | None,
        typer.Option(help="Plan file (YAML or JSON) instead of the service's plan."),
    ] = None,
    override_gate: Annotated[
        bool,
        typer.Option(
            "--override-gate",
            help="Start despite a failed gate (approver role; requires --reason).",
        ),
    ] = False,
    reason: Reason = "",
    dry_run: DryRun = False,
    idempotency_key: IdempotencyKey = None,
    output: OutputFormat = "text",
) -> None:
    """Start a rollout of a canary version."""
    body: dict[str, object] = {"canary": canary, "reason": reason}
    if plan is not None:
        body["plan"] = rollout_plan.read_plan(plan).model_dump(mode="json", exclude_unset=True)
    if override_gate:
        if not reason.strip():
            raise SystemExit("nextvec rollout: --override-gate requires --reason")
        body["override_gate"] = True
    answer = _client(context).change("", body, idempotency_key=idempotency_key, dry_run=dry_run)
    url, _, _ = context.obj
    at = "" if url == DEFAULT_URL or "NEXTVEC_URL" in os.environ else f" --url {url}"
    _print_change(answer, output, rollout_plan.follow_lines(answer["plan"], at))


def _add_verb(name: str, summary: str) -> None:
    """Add a command that changes the present rollout."""

    @app.command(name, help=summary, epilog=examples(f"nextvec rollout {name} --dry-run"))
    def verb(
        context: typer.Context,
        *,
        reason: Reason = "",
        dry_run: DryRun = False,
        idempotency_key: IdempotencyKey = None,
        output: OutputFormat = "text",
    ) -> None:
        _change(context, name, reason, output, dry_run=dry_run, idempotency_key=idempotency_key)


_add_verb("pause", "Hold the weight; guardrails keep running.")
_add_verb("resume", "Continue after a pause.")


@app.command(
    epilog=examples("nextvec rollout promote", "nextvec rollout promote --force --reason 'agreed'")
)
def promote(
    context: typer.Context,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Promote before the guardrails have passed.")
    ] = False,
    reason: Reason = "",
    dry_run: DryRun = False,
    idempotency_key: IdempotencyKey = None,
    output: OutputFormat = "text",
) -> None:
    """Approve the present step; on the last step, make the canary stable."""
    _change(
        context,
        "promote",
        reason,
        output,
        force=force,
        dry_run=dry_run,
        idempotency_key=idempotency_key,
    )


@app.command(
    epilog=examples("nextvec rollout abort", "nextvec rollout abort --reason 'wrong version'")
)
def abort(
    context: typer.Context,
    *,
    reason: Reason = "",
    dry_run: DryRun = False,
    idempotency_key: IdempotencyKey = None,
    output: OutputFormat = "text",
) -> None:
    """Stop the rollout and send all traffic to stable. What has ended already stays so."""
    client = _client(context)
    try:
        answer = client.change(
            "/abort", {"reason": reason}, idempotency_key=idempotency_key, dry_run=dry_run
        )
    except RefusedError as refused:
        now = client.status()
        if refused.status != 409 or now["outlook"] not in {"rolled_back", "stopped", "idle"}:
            raise
        if output == "json":
            print_json(now)
        else:
            made = "There is nothing to abort."
            make_console().print(plain_text(f"{made} {now['headline']}"))
        return
    _print_change(answer, output)


_add_verb("retry", "Start the rolled-back canary again with the same plan.")
_add_verb("undo", "Restore the stable version from before the last promotion.")


def _change(context: typer.Context, name: str, reason: str, output: str, **options: Any) -> None:
    client = _client(context)
    # The person decides on the state they see: the service refuses a stale generation.
    generation = int(client.status()["generation"])
    answer = client.change(f"/{name}", {"reason": reason}, generation=generation, **options)
    _print_change(answer, output)


def _print_change(answer: dict[str, Any], output: str, follow: tuple[str, ...] = ()) -> None:
    def show(console: Console) -> None:
        if output == "json":
            print_json(answer)
            return
        # First, so that nobody takes the preview for the change.
        for line in preview_lines(answer):
            console.print(line)
        console.print(status_view(answer))
        if "dry_run" not in answer:
            for text in follow:
                console.print(plain_text(text))

    made = "the preview succeeded" if "dry_run" in answer else "the change was made"
    print_result(show, f"nextvec rollout: {made}")


def _client(context: typer.Context) -> AdminClient:
    url, token, ca = context.obj
    return AdminClient(url, token, ca)
