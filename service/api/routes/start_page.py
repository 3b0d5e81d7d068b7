"""`GET /`: where everything is, as a page for browsers and as JSON for programs."""

from __future__ import annotations

from html import escape
from importlib.metadata import version as installed_version

import orjson
from fastapi import APIRouter, Request, Response

from service.api import accept
from service.api.console import HEADERS
from service.api.openapi.errors import error_responses
from service.api.openapi.inference_protocol import START_PAGE_ANSWER

router = APIRouter(tags=["health"])

PLACES = {
    "console": ("/console", "Console", "Watch and change the rollout. It asks for a token."),
    "api": ("/docs", "API", "Every route, with its parameters and responses."),
    "openapi": ("/openapi.json", "OpenAPI", "The same for programs."),
    "ready": ("/v2/health/ready", "Readiness", "Whether versions are loaded and warm."),
    "metrics": ("/metrics", "Metrics", "For Prometheus."),
    "predict": ("/v1/predict", "Predictions", "POST a context, receive the next vector."),
    "rollout": ("/admin/v1/rollout", "Rollout", "Its status as JSON. It needs a token."),
}
"""Name in JSON → path, title and explanation."""

_NOT_FOR_BROWSERS = frozenset({"predict", "rollout"})
"""A browser's GET of these is an error."""


@router.get(
    "/",
    response_class=Response,
    summary="Where things are",
    responses={**START_PAGE_ANSWER, **error_responses("not_acceptable")},
)
async def start_page(request: Request) -> Response:
    """Return the addresses of the console, the API page, health and metrics, by `Accept`."""
    accepted = ",".join(request.headers.getlist("accept"))
    prefix = str(request.scope.get("root_path", "")).rstrip("/")
    headers = {**HEADERS, "Vary": "Accept"}
    if accept.choose(accepted, ("application/json", "text/html")) == "text/html":
        return Response(_page(prefix), media_type="text/html; charset=utf-8", headers=headers)
    content = {
        "name": "nextvec",
        "version": installed_version("nextvec"),
        "paths": {name: f"{prefix}{path}" for name, (path, _, _) in PLACES.items()},
    }
    return Response(orjson.dumps(content), media_type="application/json", headers=headers)


def _page(prefix: str) -> str:
    items = "\n".join(
        f"      <dt>{_place(name, prefix)}</dt><dd>{escape(text)}</dd>"
        for name, (_, _, text) in PLACES.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>nextvec</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="{escape(prefix)}/console/console.css">
</head>
<body>
  <header class="bar"><h1>nextvec <span class="quiet">{installed_version("nextvec")}</span></h1></header>
  <main>
    <section class="card">
      <h2>Where things are</h2>
      <dl class="places">
{items}
      </dl>
    </section>
  </main>
</body>
</html>
"""  # noqa: E501  the header is one line of HTML


def _place(name: str, prefix: str) -> str:
    path, title, _ = PLACES[name]
    if name in _NOT_FOR_BROWSERS:
        return f"{escape(title)} <code>{escape(prefix + path)}</code>"
    return f'<a href="{escape(prefix + path)}">{escape(title)}</a>'
