"""The parts of `/openapi.json` that belong to no single route: text, tags, security."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from service.api.openapi.rollout import EXAMPLES

DESCRIPTION = """\
nextvec serves two versions of a next-vector model side by side and moves traffic between them.

- **Predictions** (`/v1`): one context in, one predicted vector out; or a session that grows on the
  server, one step a vector.
- **Open Inference Protocol** (`/v2`): the same for clients of Triton and KServe.
- **Rollouts** (`/admin/v1/rollout`): start, watch and change a rollout.

Examples show four numbers of a vector; the shipped models have 768. Every response has an
`X-Request-Id`. Every error has the body `{"error", "code", "request_id"}`.
"""

TAGS = [
    {"name": "predict", "description": "Predict the vector that follows a whole context."},
    {
        "name": "sessions",
        "description": "Contexts that grow on the server: one more vector costs one step.",
    },
    {"name": "feedback", "description": "Labels: the vector that followed a prediction."},
    {
        "name": "open inference protocol",
        "description": "Version 2 of the protocol that Triton, KServe and MLServer speak, with "
        "the binary tensor extension.",
    },
    {
        "name": "admin",
        "description": "Read and change the rollout. Needs a token with a role: viewer, operator "
        "or approver. Every change but start and abort needs `If-Match`.",
    },
    {"name": "health", "description": "Checks and metrics. They need no credentials."},
]
"""Every tag of a route, in the order of the page."""

SCHEMES = {
    "adminToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of `admin.tokens` or of the OpenID provider, with a role. Without "
        "any token in the settings, the admin routes are closed.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "A key of `callers.keys`. Needed only if the settings name at least one.",
    },
    "apiKeyAsBearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The same key in `Authorization`.",
    },
}
"""How a caller can identify itself. Which keys and tokens exist is a matter of the settings."""

_ADMIN = ("/admin/", "/v2/repository/")
_OPEN = ("/v2/health/", "/metrics")


def describe(app: FastAPI) -> None:
    """Add text, tags and security to the document of `app`, whose routes are all in place."""
    app.description = DESCRIPTION
    app.openapi_tags = TAGS
    make = app.openapi

    def document() -> dict[str, Any]:
        made = make()
        components = made.setdefault("components", {})
        components["securitySchemes"] = SCHEMES
        # Here and not in the routes, because the framework removes every null from those.
        components["examples"] = {name: {"value": value} for name, value in EXAMPLES.items()}
        for path, operations in made["paths"].items():
            for operation in operations.values():
                operation["security"] = security_of(path)
        return made

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's manual does it


def security_of(path: str) -> list[dict[str, list[str]]]:
    """The schemes that a path takes, any one of them; an empty one needs no credentials."""
    if path.startswith(_ADMIN):
        return [{"adminToken": []}]
    if path == "/" or path.startswith(_OPEN) or path.endswith("/ready"):
        return []
    return [{}, {"apiKey": []}, {"apiKeyAsBearer": []}]
