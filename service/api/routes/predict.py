"""`POST /v1/predict`: predict the vector that follows a context."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.api import parameters, request_headers
from service.api.codecs import vectors
from service.api.http_call import HttpCall, HttpReply, answer_over_asgi
from service.api.openapi.errors import error_responses
from service.api.openapi.vectors import PREDICT_ANSWER, PREDICT_BODY, PREDICTION_ERRORS
from service.prediction.request import RequestOptions

router = APIRouter(prefix="/v1", tags=["predict"])


@router.post(
    "/predict",
    summary="Predict from a whole context",
    openapi_extra=PREDICT_BODY,
    responses={**PREDICT_ANSWER, **error_responses(*PREDICTION_ERRORS)},
)
async def predict(request: Request) -> Response:
    """Predict the unit vector that follows a context.

    Send the vectors in order, oldest first. If there are more than the version's
    window, it reads the last ones. `key` (or the header `X-Routing-Key`) selects the
    variant: the same key gets the same variant. Without a key, each request draws one
    at random. `X-Variant: stable|canary` overrides the choice. If the beginning of the
    context was sent before, with the same credentials, only the rest is computed.
    """
    return await answer_over_asgi(request, handle_predict)


async def handle_predict(call: HttpCall) -> HttpReply:
    """Answer `POST /v1/predict`. Raises what `Dispatch.predict` and `codecs.vectors` raise."""
    call.check_query()
    services, headers = call.services, call.headers
    binary = vectors.wants_binary(headers)
    override = request_headers.variant_override(headers)
    context, fields = await vectors.parse(
        services.parsing,
        headers,
        call.content,
        "context",
        services.dim,
        services.settings.limits.max_rows,
    )
    parameters.check_fields(fields, ("context", "key"))
    await call.count_vectors(len(context))
    key = vectors.routing_key(headers, fields)
    preference = RequestOptions(
        key,
        override,
        caller=call.caller_digest,
        request_id=call.request_id,
        waited_seconds=call.waited_seconds,
    )
    answer = await services.predictor.predict(context, preference)
    return HttpReply(*vectors.render(answer, {}, binary=binary), answer)
