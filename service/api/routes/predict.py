"""`POST /v1/predict`: one context in, one prediction out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.api import request_headers
from service.api.codecs import vectors
from service.api.http_call import HttpCall, HttpReply, answer_over_asgi
from service.api.schemas import ERRORS, VECTOR_ANSWER, vectors_body
from service.prediction.request import RequestOptions

router = APIRouter(prefix="/v1", tags=["predict"])


@router.post(
    "/predict",
    openapi_extra=vectors_body("context", {"key": {"type": "string"}}),
    responses={**VECTOR_ANSWER, **ERRORS},
)
async def predict(request: Request) -> Response:
    """The unit vector that follows a context.

    Send the vectors in order, oldest first. More than the version's window is
    allowed: it reads the last ones. `key` (or the header `X-Routing-Key`)
    decides the variant, the same key the same variant; without one each request
    is drawn anew. `X-Variant: stable|canary` overrides. A context whose beginning
    was sent before, with the same credentials, costs only what is new in it.
    """
    return await answer_over_asgi(request, handle_predict)


async def handle_predict(call: HttpCall) -> HttpReply:
    """The route itself, whichever way the call came. Raises as `Dispatch.predict`, and what
    `body` raises."""
    services, headers = call.services, call.headers
    binary = vectors.wants_binary(headers)
    override = request_headers.variant_override(headers)
    context, fields = await vectors.parse(
        headers, call.content, "context", services.dim, services.settings.limits.max_rows
    )
    key = headers.get("x-routing-key") or vectors.text_field(fields, "key")
    preference = RequestOptions(
        key, override, caller=request_headers.caller_digest(headers), request_id=call.request_id
    )
    answer = await services.dispatch.predict(context, preference)
    return HttpReply(*vectors.render(answer, {}, binary=binary), answer)
