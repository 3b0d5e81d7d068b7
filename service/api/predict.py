"""`POST /v1/predict`: one context in, one prediction out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.api import body
from service.api.schemas import ERRORS, VECTOR_ANSWER, vectors_body
from service.api.services import accepting
from service.request import Preference

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
    services = accepting(request)
    binary = body.wants_binary(request)
    override = body.override_of(request)
    content = await body.read(request)
    context, fields = await body.vectors_of(
        request, content, "context", services.dim, services.settings.limits.max_rows
    )
    key = request.headers.get("x-routing-key") or body.text_field(fields, "key")
    preference = Preference(
        key,
        override,
        caller=body.caller_of(request),
        request_id=request.scope["state"]["request_id"],
    )
    work = services.dispatch.predict(context, preference)
    answer = await body.unless_gone(request, work)
    return body.respond(request, answer, {}, binary=binary)
