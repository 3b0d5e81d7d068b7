"""`nextvec rollout`: watch and change the rollout of a running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from service.commands import rollout_watch
from service.commands.admin_client import AdminClient
from service.commands.options import OutputFormat, examples, new_app
from service.commands.rollout_view import history_view, preview_lines, status_view
from service.commands.terminal import print_result
from service.errors import Invalid
from service.rollout.plan.plan_file import load_plan

Reason = Annotated[str, typer.Option(help="Why; the audit log keeps it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Preview the change without making it.")]
IdempotencyKey = Annotated[
    str | None,
    typer.Option(help="Make a retry safe: a repeated key returns the first response again."),
]

app = new_app(no_args_is_help=True)


@app.callback(
    help="Watch and change the rollout of a running service.",
    epilog=examples(
        "nextvec rollout status --watch",
        "nextvec rollout start phase-3 --reason 'longer context'",
        "nextvec rollout --url http://10.0.0.5:8080 abort",
    ),
)
def _connect(
    context: typer.Context,
    url: Annotated[str, typer.Option(help="Address of the service.")] = "http://127.0.0.1:8080",
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


@app.command(epilog=examples("nextvec rollout status", "nextvec rollout status --output json"))
def status(
    context: typer.Context,
    *,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Refresh every second until interrupted; into a pipe, print a line per change.",
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Same as --output json.")] = False,
    output: OutputFormat = "text",
) -> None:
    """Show phase, weights, and the evidence of each guardrail."""
    client = _client(context)
    if json or output == "json":
        Console().print_json(data=client.status(), ensure_ascii=True)
    elif watch:
        rollout_watch.watch(client)
    else:
        Console().print(status_view(client.status()))


@app.command(epilog=examples("nextvec rollout history --limit 5"))
def history(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Entries to show.")] = 20,
    output: OutputFormat = "text",
) -> None:
    """Show the audit log, newest entry first."""
    rows = _client(context).history(limit)
    if output == "json":
        Console().print_json(data=rows, ensure_ascii=True)
    else:
        Console().print(history_view(rows))


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
        body["plan"] = _plan(plan)
    if override_gate:
        if not reason.strip():
            raise SystemExit("nextvec rollout: --override-gate requires --reason")
        body["override_gate"] = True
    answer = _client(context).change("", body, idempotency_key=idempotency_key, dry_run=dry_run)
    _print_change(answer, output)


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


_add_verb("abort", "Stop the rollout and send all traffic to stable.")
_add_verb("retry", "Start the rolled-back canary again with the same plan.")
_add_verb("undo", "Restore the stable version from before the last promotion.")


def _change(context: typer.Context, name: str, reason: str, output: str, **options: Any) -> None:
    client = _client(context)
    # The person decides on the state they see: the service refuses a stale generation.
    generation = int(client.status()["generation"])
    answer = client.change(f"/{name}", {"reason": reason}, generation=generation, **options)
    _print_change(answer, output)


def _print_change(answer: dict[str, Any], output: str) -> None:
    def show(console: Console) -> None:
        if output == "json":
            console.print_json(data=answer, ensure_ascii=True)
            return
        console.print(status_view(answer))
        for line in preview_lines(answer):
            console.print(line)

    made = "the preview succeeded" if "dry_run" in answer else "the change was made"
    print_result(show, f"nextvec rollout: {made}")


def _client(context: typer.Context) -> AdminClient:
    url, token, ca = context.obj
    return AdminClient(url, token, ca)


def _plan(path: Path) -> object:
    try:
        return load_plan(path).model_dump(mode="json", exclude_unset=True)
    except Invalid as error:
        raise SystemExit(f"nextvec rollout: {error}") from error
