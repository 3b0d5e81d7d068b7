"""What the frames between a worker and the engine process say: calls, results and failures.

Numbers are packed, vectors are raw float32 and texts are UTF-8. Only failures and the state of
the service, which are rare, are JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from struct import error as StructError
from typing import Any

import numpy as np
import orjson

from service.contexts.session_store import SessionStart
from service.prediction.request import Prediction
from service.rollout.routing.traffic_split import Route
from service.types import Variant, Vectors
from service.workers.frames import Frame, FrameError, FrameKind, encode

_CALL = Struct("<qddQIIHHHHHH16s")
_TEXTS = 6
_RESULT = Struct("<IHH")
_ROW = Struct("<ddq")
_COUNTS = Struct("<IIH")

_NONE = -1
_VARIANTS = {None: 0, Variant.STABLE: 1, Variant.CANARY: 2}
_VARIANT_OF = {code: variant for variant, code in _VARIANTS.items()}
_STARTS = tuple(SessionStart)
_START_CODES = {start: code << 2 for code, start in enumerate(_STARTS)}
_END, _HAS_CALLER, _IN_ARENA, _BATCH = 16, 32, 64, 128
_NO_DIGEST = bytes(16)

MAX_TEXT = 4096
"""Bytes of a text in a call: the routing key may have 1024 characters."""


@dataclass(slots=True)
class EngineCall:
    """One call of `Predictor`, as it travels.

    `session` is None for whole contexts. `lengths` are the numbers of vectors of its contexts,
    one after the other in `vectors`; an append has one. `arrived` is when the request arrived, in
    seconds of the system's monotonic clock, which all processes share. `owner` is the name of an
    API key's holder. `batch` asks for `predict_batch` and not for `predict`.
    """

    lengths: Sequence[int]
    arrived: float
    session: str | None = None
    position: int | None = None
    begin: SessionStart = SessionStart.IF_UNKNOWN
    end: bool = False
    key: str | None = None
    override: Variant | None = None
    version: str | None = None
    timeout_seconds: float | None = None
    caller: bytes | None = None
    request_id: str | None = None
    owner: str | None = None
    traceparent: str | None = None
    batch: bool = False


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What a worker knows of the service: `versions` are the loaded ones, counted."""

    accepting: bool
    draining: bool
    versions: int
    dim: int


def encode_call(number: int, call: EngineCall, vectors: Vectors | int) -> bytes:
    """Return the frame of a call. `vectors` `[n, dim]`, or their place in shared memory.

    Raises `FrameError` if a text or the frame is too large.
    """
    flags = _VARIANTS[call.override] | _START_CODES[call.begin]
    if call.end:
        flags |= _END
    if call.caller is not None:
        flags |= _HAS_CALLER
    if call.batch:
        flags |= _BATCH
    place = 0
    payload: bytes | memoryview = b""
    if isinstance(vectors, int):
        flags |= _IN_ARENA
        place = vectors
    else:
        payload = vectors.data.cast("B") if vectors.flags.c_contiguous else vectors.tobytes()
    texts = [
        b"" if text is None else text.encode("utf-8", "surrogatepass")
        for text in (
            call.session,
            call.key,
            call.version,
            call.request_id,
            call.owner,
            call.traceparent,
        )
    ]
    sizes = [len(text) for text in texts]
    if max(sizes) > MAX_TEXT:
        raise FrameError(f"a text of {max(sizes)} bytes is longer than {MAX_TEXT}")
    head = _CALL.pack(
        _NONE if call.position is None else call.position,
        call.arrived,
        call.timeout_seconds or 0.0,
        place,
        len(call.lengths),
        sum(call.lengths),
        *sizes,
        call.caller or _NO_DIGEST,
    )
    lengths = b"" if len(call.lengths) == 1 else np.array(call.lengths, "<u4").tobytes()
    body = b"".join((head, lengths, *texts))
    kind = FrameKind.PREDICT if call.session is None else FrameKind.APPEND
    return encode(kind, number, flags, body, bytes(-len(body) % 8), payload)


def decode_call(frame: Frame, dim: int) -> tuple[EngineCall, Vectors | int]:
    """Return the call of a frame, and its vectors `[n, dim]` or their place in shared memory.

    Raises `FrameError`.
    """
    body, flags = frame.body, frame.flags
    try:
        position, arrived, timeout, place, contexts, rows, *sizes, caller = _CALL.unpack_from(body)
        at = _CALL.size
        if contexts == 1:
            lengths = [rows]
        else:
            lengths = np.frombuffer(body, "<u4", contexts, at).tolist()
            at += 4 * contexts
        texts: list[str | None] = []
        for size in sizes:
            texts.append(str(body[at : at + size], "utf-8", "surrogatepass") if size else None)
            at += size
        at += -at % 8
        vectors: Vectors | int = place
        if not flags & _IN_ARENA:
            vectors = np.frombuffer(body, "<f4", rows * dim, at).reshape(rows, dim)
    except (StructError, ValueError) as error:
        raise FrameError(f"a call is cut short: {error}") from error
    if not contexts or sum(lengths) != rows or position < _NONE:
        raise FrameError(f"a call of {contexts} contexts with {rows} vectors contradicts itself")
    session, key, version, request_id, owner, traceparent = texts
    begin = (flags >> 2) & 3
    if begin >= len(_STARTS) or flags & 3 not in _VARIANT_OF:
        raise FrameError(f"a call has no flags {flags}")
    if (frame.kind is FrameKind.APPEND) != (session is not None):
        raise FrameError("an append has a session, and nothing else has one")
    call = EngineCall(
        lengths,
        arrived,
        session,
        None if position == _NONE else position,
        _STARTS[begin],
        bool(flags & _END),
        key,
        _VARIANT_OF[flags & 3],
        version,
        timeout or None,
        caller if flags & _HAS_CALLER else None,
        request_id,
        owner,
        traceparent,
        bool(flags & _BATCH),
    )
    return call, vectors


def encode_result(number: int, predictions: Sequence[Prediction]) -> bytes:
    """Return the frame of the predictions of one call, which all come from one version."""
    first = predictions[0].route
    rows = [
        _ROW.pack(queue, inference, _NONE if length is None else length)
        for _, _, queue, inference, length in predictions
    ]
    return encode(
        FrameKind.RESULT,
        number,
        _VARIANTS[first.variant],
        _result_head(len(rows), first.version),
        *rows,
        *[each.vector.astype("<f4", copy=False).tobytes() for each in predictions],
    )


@lru_cache(maxsize=256)
def _result_head(count: int, version: str) -> bytes:
    name = version.encode()
    head = _RESULT.pack(count, len(name), 0) + name
    return head + bytes(-len(head) % 8)


def decode_result(frame: Frame, dim: int) -> list[Prediction]:
    """Return the predictions of one call. Raises `FrameError`."""
    body = frame.body
    try:
        count, size, _ = _RESULT.unpack_from(body)
        at = _RESULT.size + size
        route = Route(
            _VARIANT_OF[frame.flags], str(body[_RESULT.size : at], "utf-8"), assigned=True
        )
        at += -at % 8
        rows = [_ROW.unpack_from(body, at + i * _ROW.size) for i in range(count)]
        at += count * _ROW.size
        # A copy: a view would keep all that arrived in the same read.
        vectors = np.frombuffer(body, "<f4", count * dim, at).reshape(count, dim).copy()
    except (StructError, ValueError, KeyError) as error:
        raise FrameError(f"a result is cut short: {error}") from error
    if not count:
        raise FrameError("a result has no predictions")
    return [
        Prediction(vector, route, queue, inference, None if length == _NONE else length)
        for vector, (queue, inference, length) in zip(vectors, rows, strict=True)
    ]


def encode_admission(number: int, owner: str, requests: int, vectors: int) -> bytes:
    """Return the frame that takes requests and vectors from the limits of a key's holder."""
    name = owner.encode()
    return encode(FrameKind.ADMIT, number, 0, _COUNTS.pack(requests, vectors, len(name)), name)


def decode_admission(frame: Frame) -> tuple[str, int, int]:
    """Return the holder's name, the requests and the vectors. Raises `FrameError`."""
    try:
        requests, vectors, size = _COUNTS.unpack_from(frame.body)
        name = str(frame.body[_COUNTS.size : _COUNTS.size + size], "utf-8")
    except (StructError, ValueError) as error:
        raise FrameError(f"an admission is cut short: {error}") from error
    return name, requests, vectors


def encode_release(places: Sequence[int]) -> bytes:
    """Return the frame that gives places in shared memory back to the worker."""
    return encode(FrameKind.RELEASE, len(places), 0, np.array(places, "<u8").tobytes())


def decode_release(frame: Frame) -> list[int]:
    """Return the places. Raises `FrameError`."""
    try:
        return np.frombuffer(frame.body, "<u8", frame.number).tolist()  # type: ignore[no-any-return]  # integers
    except ValueError as error:
        raise FrameError(f"a release is cut short: {error}") from error


def encode_state(state: ServiceState) -> bytes:
    """Return the frame that tells a worker the state of the service."""
    values = {name: getattr(state, name) for name in ServiceState.__dataclass_fields__}
    return encode(FrameKind.STATE, 0, 0, orjson.dumps(values))


def decode_state(frame: Frame) -> ServiceState:
    """Return the state. Raises `FrameError`."""
    try:
        return ServiceState(**load_json(frame))
    except TypeError as error:
        raise FrameError(f"the state of the service is incomplete: {error}") from error


def load_json(frame: Frame) -> dict[str, Any]:
    """Return the JSON of a frame, which zero bytes may follow. Raises `FrameError`."""
    try:
        found = orjson.loads(bytes(frame.body).rstrip(b"\0"))
    except orjson.JSONDecodeError as error:
        raise FrameError(f"no JSON: {error}") from error
    if not isinstance(found, dict):
        raise FrameError("no object")
    return found
