"""`/v2`: the Open Inference Protocol, with the same dispatch as `/v1`."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version as installed_version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from service.api import request_headers
from service.api.codecs import tensors, vectors
from service.api.http_call import HttpCall, HttpReply, answer_over_asgi
from service.api.infer_call import InferCall, require_known, slowest
from service.api.openapi.errors import error_responses
from service.api.openapi.inference_protocol import (
    CONFIG_ANSWER,
    INFER_ANSWER,
    INFER_BODY,
    METADATA_ANSWER,
    MODEL_ERRORS,
    MODELS_ANSWER,
    READY_ANSWER,
    SERVER_ANSWER,
    STATISTICS_ANSWER,
    VERSION_IN_PATH,
)
from service.api.openapi.vectors import PREDICTION_ERRORS
from service.api.routes.model_metadata import config, metadata, server, statistics
from service.api.security import KEYED
from service.api.services import LiveServices, Services

router = APIRouter(prefix="/v2", tags=["open inference protocol"])

_SERVER_ERRORS = error_responses("unauthorized", "caller_limited", "too_many_failures")
_MODEL_ERRORS = error_responses(*MODEL_ERRORS)
_VERSION_ERRORS = error_responses(*MODEL_ERRORS, "version_not_found")
_INFER_ERRORS = (
    *PREDICTION_ERRORS,
    "model_not_found",
    "session_not_found",
    "position_mismatch",
    "session_gone",
)


async def known_model(model: str, services: LiveServices) -> str:
    """Return the model in the path. Raises `NotFound` unless it is the model of this service."""
    return require_known(model, services)


async def _version_in_path(request: Request) -> str | None:
    # As a route parameter, routes without it in the path would read it from the query.
    found: str | None = request.path_params.get("version")
    return found


Model = Annotated[str, Depends(known_model)]
Version = Annotated[str | None, Depends(_version_in_path)]


@router.get(
    "",
    dependencies=KEYED,
    summary="Describe the server",
    responses={**SERVER_ANSWER, **_SERVER_ERRORS},
)
async def get_server(services: LiveServices) -> dict[str, Any]:
    """Return the server's metadata and its loaded versions."""
    return server(installed_version("nextvec"), services.registry.loaded)


@router.get(
    "/models",
    dependencies=KEYED,
    summary="List models",
    responses={**MODELS_ANSWER, **_SERVER_ERRORS},
)
async def list_models(services: LiveServices) -> dict[str, list[str]]:
    """Return the names of the models: this service has one."""
    return {"models": [services.settings.model]}


@router.get(
    "/models/stats",
    dependencies=KEYED,
    summary="Statistics of every model",
    responses={**STATISTICS_ANSWER, **_SERVER_ERRORS},
)
async def get_all_statistics(services: LiveServices) -> dict[str, Any]:
    """Return the statistics of every model, which is the only one."""
    return _statistics(services, services.settings.model, None)


@router.get(
    "/models/{model}",
    dependencies=KEYED,
    summary="Describe a model",
    responses={**METADATA_ANSWER, **_MODEL_ERRORS},
)
@router.get(
    "/models/{model}/versions/{version}",
    openapi_extra=VERSION_IN_PATH,
    dependencies=KEYED,
    summary="Describe a version",
    responses={**METADATA_ANSWER, **_VERSION_ERRORS},
)
async def get_metadata(services: LiveServices, model: Model, version: Version) -> dict[str, Any]:
    """Return the input and output tensors and the loaded versions."""
    if version is not None:
        services.registry.get(version)
    return metadata(model, services.registry.loaded, services.dim)


@router.get(
    "/models/{model}/ready",
    summary="Whether a model can answer",
    responses={**error_responses("model_not_found"), **READY_ANSWER},
)
@router.get(
    "/models/{model}/versions/{version}/ready",
    openapi_extra=VERSION_IN_PATH,
    summary="Whether a version can answer",
    responses={**error_responses("model_not_found", "version_not_found"), **READY_ANSWER},
)
async def get_ready(services: LiveServices, model: Model, version: Version) -> JSONResponse:
    """Report whether it can answer: 200, or 503 for a version that is not loaded."""
    if version is not None and version not in services.registry.available():
        services.registry.get(version)
    loaded = {found.manifest.version for found in services.registry.loaded}
    ready = services.ready and (version is None or version in loaded)
    return JSONResponse({"name": model, "ready": ready}, 200 if ready else 503)


@router.get(
    "/models/{model}/config",
    dependencies=KEYED,
    summary="Configuration of a model",
    responses={**CONFIG_ANSWER, **_MODEL_ERRORS},
)
@router.get(
    "/models/{model}/versions/{version}/config",
    openapi_extra=VERSION_IN_PATH,
    dependencies=KEYED,
    summary="Configuration of a version",
    responses={**CONFIG_ANSWER, **_VERSION_ERRORS},
)
async def get_config(services: LiveServices, model: Model, version: Version) -> dict[str, Any]:
    """Return the metadata as a Triton model configuration."""
    if version is not None:
        services.registry.get(version)
    return config(model, services.dim)


@router.get(
    "/models/{model}/stats",
    dependencies=KEYED,
    summary="Statistics of a model",
    responses={**STATISTICS_ANSWER, **_MODEL_ERRORS},
)
@router.get(
    "/models/{model}/versions/{version}/stats",
    openapi_extra=VERSION_IN_PATH,
    dependencies=KEYED,
    summary="Statistics of a version",
    responses={**STATISTICS_ANSWER, **_VERSION_ERRORS},
)
async def get_statistics(services: LiveServices, model: Model, version: Version) -> dict[str, Any]:
    """Return counts and nanoseconds of each loaded version since the service started."""
    return _statistics(services, model, version)


@router.post(
    "/models/{model}/infer",
    openapi_extra=INFER_BODY,
    summary="Predict over the Open Inference Protocol",
    responses={**INFER_ANSWER, **error_responses(*_INFER_ERRORS)},
)
@router.post(
    "/models/{model}/versions/{version}/infer",
    openapi_extra={**INFER_BODY, **VERSION_IN_PATH},
    summary="Predict with one version",
    responses={**INFER_ANSWER, **error_responses(*_INFER_ERRORS, "version_not_found")},
)
async def infer(request: Request, model: str, version: Version) -> Response:
    """Predict the vector that follows each context, or continue a sequence.

    `vectors` is FP32 `[n, dim]` or `[batch, n, dim]`; `next_vector` is FP32
    `[batch, dim]`. With `sequence_id` the vectors are appended to that session:
    `sequence_start` resets it first, `sequence_end` deletes it after the response.
    The variant is chosen as for `/v1` (`X-Routing-Key`, or the parameter
    `routing_key`); a version in the path bypasses the split.
    """
    return await answer_over_asgi(request, partial(handle_infer, model, version))


async def handle_infer(model: str, version: str | None, call: HttpCall) -> HttpReply:
    """Answer an infer request. Raises what `Dispatch` and `codecs.tensors` raise."""
    call.check_query()
    infer_call = InferCall(
        call.services,
        model,
        version,
        call.headers.get("x-routing-key") or None,
        request_headers.variant_override(call.headers),
        call.caller,
        call.caller_digest,
    )
    infer_call.check()
    wanted = await _parse(call)
    answers = await infer_call.predict(wanted, call.waited_seconds)
    predicted = [answer.vector for answer in answers]
    content, length = tensors.render(
        model, answers[0].route.version, wanted.id, predicted, binary=wanted.binary_output
    )
    if length is None:
        return HttpReply(content, vectors.JSON_TYPE, slowest(answers))
    return HttpReply(
        content, vectors.BINARY_TYPE, slowest(answers), {tensors.HEADER_LENGTH: str(length)}
    )


async def _parse(call: HttpCall) -> tensors.InferRequest:
    services, content = call.services, call.content
    header = call.headers.get(tensors.HEADER_LENGTH.lower())
    encoding = call.headers.get("content-encoding", "").strip().lower()
    limits = services.settings.limits

    def work() -> tensors.InferRequest:
        plain = content
        if encoding not in {"", "identity"}:
            plain = tensors.decompress(content, encoding, limits.max_body_bytes)
        length = tensors.json_length(header, len(plain))
        return tensors.parse(plain, length, services.dim, limits.max_rows)

    # Binary tensors need no parsing; the size of a compressed body is not known yet.
    size = limits.max_body_bytes
    if encoding in {"", "identity"}:
        size = tensors.json_length(header, len(content))
    return await services.parsing.run(size, work)


def _statistics(services: Services, model: str, version: str | None) -> dict[str, Any]:
    loaded = services.registry.loaded
    if version is not None:
        loaded = (services.registry.get(version),)
    names = [found.manifest.version for found in loaded]
    return statistics(
        model,
        {name: services.metrics.usage.read(name) for name in names},
        services.dispatch.last_predictions,
    )
