"""`POST /v1/steps`: one step for each of many sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from service.api import request_headers
from service.api.codecs import steps
from service.api.codecs.vectors import wants_binary
from service.api.edge import Predictor
from service.api.http_call import HttpCall, HttpReply, answer_over_asgi
from service.api.openapi.errors import error_responses
from service.api.openapi.vectors import PREDICTION_ERRORS, STEPS_ANSWER, STEPS_BODY
from service.errors import DeadlineExceeded, Invalid, NextvecError
from service.prediction.request import Prediction, RequestOptions, SessionAppend

router = APIRouter(prefix="/v1", tags=["sessions"])

_TOGETHER = 128
"""Rows that wait in the queue at once: several batches, and less than the queue's own limit, which
other callers share."""


@router.post(
    "/steps",
    summary="Advance many sessions by one vector each",
    openapi_extra=STEPS_BODY,
    responses={**STEPS_ANSWER, **error_responses(*PREDICTION_ERRORS)},
)
async def advance(request: Request) -> Response:
    """Append one vector to each of many sessions, and predict the next vector of each.

    Every row is answered by itself, in the request's order: a stale position or a lost session
    fails that row alone. Rows of one session run one after the other. `position` has the meaning
    that it has for `/v1/sessions/{id}/vectors`. A response is 200 even if all rows failed.
    """
    return await answer_over_asgi(request, handle_steps)


async def handle_steps(call: HttpCall) -> HttpReply:
    """Answer `POST /v1/steps`. Raises what `codecs.steps.parse` raises."""
    call.check_query()
    services, headers = call.services, call.headers
    binary = wants_binary(headers)
    override = request_headers.variant_override(headers)
    limits = services.settings.limits
    rows = await steps.parse(services.parsing, headers, call.content, services.dim, limits.max_rows)
    await call.count_vectors(len(rows))
    options = RequestOptions(
        override=override, owner=call.owner, waited_seconds=call.waited_seconds
    )
    results = await _advance_all(services.predictor, rows, options, limits.timeout_seconds)
    return HttpReply(*steps.render(rows, results, services.dim, binary=binary), None)


async def _advance_all(
    predictor: Predictor,
    rows: Sequence[SessionAppend | Invalid],
    options: RequestOptions,
    timeout_seconds: float,
) -> list[Prediction | NextvecError]:
    """The result of every row. Rows not begun within `timeout_seconds` fail with a deadline."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds - options.waited_seconds
    results: dict[int, Prediction | NextvecError] = {}
    appends: list[tuple[int, SessionAppend]] = []
    for number, row in enumerate(rows):
        if isinstance(row, Invalid):
            results[number] = row
        else:
            appends.append((number, row))
    for begin in range(0, len(appends), _TOGETHER):
        together = appends[begin : begin + _TOGETHER]
        if loop.time() < deadline:
            found = await predictor.append_each([append for _, append in together], options)
        else:
            late = f"not begun within {timeout_seconds:g} s; send fewer rows"
            found = [DeadlineExceeded(late) for _ in together]
        results |= {number: each for (number, _), each in zip(together, found, strict=True)}
    return [results[number] for number in range(len(rows))]
