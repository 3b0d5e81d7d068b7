"""Bytes in, vectors out; and an answer back in the form that was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np
import orjson
from fastapi import Request
from starlette.requests import ClientDisconnect

from service.api import json_numbers
from service.errors import Cancelled, Invalid, Malformed, UnsupportedMediaType
from service.prediction.request import Prediction
from service.types import Variant, Vectors

BINARY = "application/octet-stream"
JSON = "application/json"
OFF_LOOP_BYTES = 64 * 1024
"""JSON larger than this is parsed in a thread: other callers wait meanwhile."""

T = TypeVar("T")


async def read(request: Request) -> bytes:
    """The body. Raises `Cancelled`, and what `BodyLimits` raises."""
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise Cancelled("the caller has gone") from error


async def vectors_of(
    headers: Mapping[str, str], content: bytes, field: str, dim: int, max_rows: int
) -> tuple[Vectors, Mapping[str, Any]]:
    """The vectors `[n, dim]` in a JSON or binary body, and the JSON's other fields.

    Raises `UnsupportedMediaType`, `Malformed` or `Invalid`.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise UnsupportedMediaType(f"content encoding {encoding!r}: send the body as it is")
    kind = headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind == BINARY:
        return from_binary(content, dim), {}
    if kind != JSON:
        raise UnsupportedMediaType(f"content type {kind!r}: send {JSON} or {BINARY}")
    if len(content) > OFF_LOOP_BYTES:
        return await asyncio.to_thread(from_json, content, field, dim, max_rows)
    return from_json(content, field, dim, max_rows)


def from_binary(content: bytes, dim: int) -> Vectors:
    """Raw little-endian float32 rows. Raises `Malformed`."""
    if len(content) % (4 * dim):
        raise Malformed(f"{len(content)} bytes are not rows of {dim} float32 ({4 * dim} bytes)")
    return np.frombuffer(content, "<f4").reshape(-1, dim)


def from_json(
    content: bytes, field: str, dim: int, max_rows: int
) -> tuple[Vectors, Mapping[str, Any]]:
    """`{field: [[…], …], …}`. Raises `Malformed` or `Invalid`."""
    parsed = json_numbers.loads(content, dim, max_rows)
    if not isinstance(parsed, dict) or field not in parsed:
        raise Invalid(f"the body is not an object with {field!r}")
    rows = parsed.pop(field)
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise Invalid(f"{field} is not a list of vectors")
    for number, row in enumerate(rows):
        if len(row) != dim:
            raise Invalid(f"{field}[{number}] has {len(row)} values, not {dim}")
    try:
        values = json_numbers.float32(rows)
    except ValueError as error:
        raise Invalid(f"{field} has {error}") from error
    return values.reshape(-1, dim), parsed


def text_field(fields: Mapping[str, Any], name: str) -> str | None:
    """An optional string of a JSON body. Raises `Invalid`."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise Invalid(f"{name} is not a string")
    return value


def override_of(headers: Mapping[str, str]) -> Variant | None:
    """What `X-Variant` asks for. Raises `Invalid`."""
    wanted = headers.get("x-variant")
    if wanted is None:
        return None
    try:
        return Variant(wanted)
    except ValueError as error:
        raise Invalid(f"X-Variant is {wanted!r}, not stable or canary") from error


def caller_of(headers: Mapping[str, str]) -> bytes:
    """What tells this caller from others who must not share its cached contexts.

    A digest of its credentials, whoever checks them; callers without any share one.
    """
    credentials = (headers.get(name, "") for name in ("authorization", "x-api-key"))
    return blake2b("\n".join(credentials).encode(), digest_size=16).digest()


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, and cancel it as soon as the caller has gone: it raises `Cancelled`."""
    # The work runs in the request's own task and only the watching in another:
    # to wait for two tasks costs more than all the rest of a request.
    task = asyncio.current_task()
    assert task is not None
    gone = asyncio.ensure_future(_disconnected(request))
    finished = left = False

    def leave(watch: asyncio.Future[None]) -> None:
        nonlocal left
        if not (finished or watch.cancelled()):
            left = True
            task.cancel()

    gone.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if left and task.uncancel() == 0:
            raise Cancelled("the caller has gone") from None
        raise
    finally:
        finished = True
        gone.cancel()


def wants_binary(headers: Mapping[str, str]) -> bool:
    """Whether `Accept` asks for raw float32. Raises `UnsupportedMediaType`.

    Asked before any work is done, so that a refusal leaves nothing half-done.
    """
    accept = headers.get("accept", "*/*")
    if BINARY in accept:
        return True
    if not any(kind in accept for kind in ("*/*", "application/*", JSON)):
        raise UnsupportedMediaType(f"Accept is {accept!r}: {JSON} and {BINARY} can be had")
    return False


def rendered(
    answer: Prediction, fields: Mapping[str, object], *, binary: bool
) -> tuple[bytes, str]:
    """The answer as JSON with `fields` beside it, or as raw little-endian float32; its type."""
    if binary:
        return answer.vector.astype("<f4", copy=False).tobytes(), BINARY
    content = {
        "next_vector": answer.vector,
        "variant": answer.route.variant,
        "version": answer.route.version,
        **fields,
    }
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), JSON


async def _disconnected(request: Request) -> None:
    # Whatever goes wrong in asking, there is nobody left to be answered.
    with suppress(Exception):
        while (await request.receive())["type"] != "http.disconnect":
            pass
