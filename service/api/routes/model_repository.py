"""`/v2/repository`: list, load and unload versions."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request

from service.api import http_call
from service.api.codecs import json_names
from service.api.openapi.errors import error_responses
from service.api.openapi.inference_protocol import (
    INDEX_ANSWER,
    INDEX_BODY,
    LOAD_ANSWER,
    UNLOAD_ANSWER,
    VERSION_IN_QUERY,
)
from service.api.parameters import agreed, check_near_misses
from service.api.routes.open_inference import Model
from service.api.security import AuthorizedRoute, Operator
from service.api.services import ReadyServices, Services
from service.errors import Conflict, Malformed, quoted
from service.rollout.state.events import FINAL

_ERRORS = (
    "unauthorized",
    "forbidden",
    "body_timeout",
    "too_large",
    "too_many_failures",
    "not_ready",
)

router = APIRouter(
    prefix="/v2/repository",
    tags=["open inference protocol"],
    route_class=AuthorizedRoute,
)


@router.post(
    "/index",
    summary="List versions",
    openapi_extra=INDEX_BODY,
    responses={**INDEX_ANSWER, **error_responses(*_ERRORS)},
)
async def index(
    request: Request, services: ReadyServices, _caller: Operator
) -> list[dict[str, str]]:
    """List every version on disk or loaded; with `{"ready": true}` only the loaded ones."""
    content = await _json(request)
    check_near_misses(content, ("ready",), "field")
    loaded = {found.manifest.version for found in services.registry.loaded}
    names = loaded if content.get("ready") is True else loaded | services.registry.available()
    return [_state(services.settings.model, name, ready=name in loaded) for name in sorted(names)]


@router.post(
    "/models/{model}/load",
    summary="Load a version",
    openapi_extra=VERSION_IN_QUERY,
    responses={
        **LOAD_ANSWER,
        **error_responses(*_ERRORS, "model_not_found", "version_not_found", "version_unusable"),
    },
)
async def load(
    request: Request, services: ReadyServices, _caller: Operator, model: Model
) -> dict[str, str]:
    """Load and warm up the version in `parameters.version` or `?version=`.

    It gets no traffic: only a rollout gives it a share.
    """
    version = await _version(request, services)
    await services.registry.prepare(version)
    services.metrics.expect([(None, version)])
    return _state(model, version, ready=True)


@router.post(
    "/models/{model}/unload",
    summary="Unload a version",
    openapi_extra=VERSION_IN_QUERY,
    responses={
        **UNLOAD_ANSWER,
        **error_responses(*_ERRORS, "model_not_found", "version_not_found", "version_in_use"),
    },
)
async def unload(
    request: Request, services: ReadyServices, _caller: Operator, model: Model
) -> dict[str, str]:
    """Unload a version; 409 if the rollout needs it."""
    version = await _version(request, services)
    part = _rollout_part(services, version)
    if part is not None:
        raise Conflict(f"{version} is {part}: it cannot be unloaded", code="version_in_use")
    await services.registry.unload(version)
    return _state(model, version, ready=False)


def _rollout_part(services: Services, version: str) -> str | None:
    """Return the part that `version` plays in the rollout, or None."""
    status = services.controller.status()
    if version == status["stable"]:
        return "stable"
    if version == status["canary"] and status["phase"] not in FINAL:
        return "the canary"
    if version == status["previous"]:
        return "the version that an undo restores"
    return None


def _state(model: str, version: str, *, ready: bool) -> dict[str, str]:
    return {
        "name": model,
        "version": version,
        "state": "READY" if ready else "UNAVAILABLE",
        "reason": "" if ready else "not loaded",
    }


async def _version(request: Request, services: Services) -> str:
    content = await _json(request)
    check_near_misses(content, ("parameters",), "field")
    parameters = content.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise Malformed("parameters is not an object")
    for name in parameters:
        if name == "config" or name.startswith("file:"):
            raise Malformed(f"the parameter {quoted(name)} is not supported: use nextvec export")
    check_near_misses(parameters, ("version",), "parameter")
    version = agreed("version", parameters.get("version"), request.query_params.get("version"))
    if not isinstance(version, str) or not version:
        there = ", ".join(sorted(services.registry.available())) or "none"
        raise Malformed(
            f'the version is missing: send {{"parameters": {{"version": "…"}}}} or ?version=… '
            f"({there})"
        )
    return version


async def _json(request: Request) -> dict[str, Any]:
    """Return the body's JSON object; empty without a body. Raises `Malformed` and `Invalid`."""
    content = await http_call.read_body(request)
    if not content.strip():
        return {}
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise Malformed("the body is not a JSON object")
    json_names.check_once(content, parsed)
    return parsed
