"""A worker's stream of frames to the engine process."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from service.errors import DeadlineExceeded, NextvecError, NotReady, QueueFull
from service.prediction.request import Prediction, SessionAppend
from service.types import Vectors
from service.workers import messages
from service.workers.arena import Arena
from service.workers.failures import decode_failure
from service.workers.frames import Frame, FrameDecoder, FrameError, FrameKind, encode
from service.workers.group_messages import GroupHead, decode_outcomes, encode_group
from service.workers.messages import EngineCall, ServiceState

logger = logging.getLogger(__name__)

MAX_UNSENT_BYTES = 8 * 1024 * 1024
"""Frames that wait for the engine process to read them. Above it, requests are refused."""

IN_ARENA_BYTES = 64 * 1024
"""Vectors of at least this size travel through shared memory."""

_SWEEP_SECONDS = 0.5

_ANSWERS = frozenset((FrameKind.RESULT, FrameKind.OUTCOMES, FrameKind.FAILURE, FrameKind.ADMITTED))


class EngineLink(asyncio.Protocol):
    """Sends calls and resolves their results. `patience` is the longest wait, in seconds.

    The engine process keeps the deadlines. The link's own, a little later, only matters if that
    process hangs. `on_state` gets each new state, and `on_lost` is called when the stream ends.
    """

    def __init__(
        self,
        arena: Arena,
        patience: float,
        on_state: Callable[[ServiceState], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._arena = arena
        self._patience = patience
        self._on_state = on_state
        self._on_lost = on_lost
        self._decoder = FrameDecoder()
        self._numbers = itertools.count(1)
        # In the order of their calls: the first one is the oldest.
        self._pending: dict[int, tuple[asyncio.Future[Frame], float]] = {}
        self._dim = 0
        self._is_full = False
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def pending(self) -> int:
        """Calls without a result."""
        return len(self._pending)

    async def call(self, call: EngineCall, vectors: Vectors) -> list[Prediction]:
        """Run `call` in the engine process. Raises what it raises there, `QueueFull` if that
        process does not keep up, and `NotReady` if it has ended.
        """
        self._check_open()
        number = next(self._numbers)
        if vectors.nbytes < IN_ARENA_BYTES:
            frame = messages.encode_call(number, call, vectors)
        else:
            place = self._arena.put(vectors)
            try:
                frame = messages.encode_call(number, call, place)
            except FrameError:
                self._arena.give_back(place)
                raise
        return messages.decode_result(await self._send(number, frame), self._dim)

    async def call_group(
        self, head: GroupHead, appends: Sequence[SessionAppend]
    ) -> list[Prediction | NextvecError]:
        """Run appends of one vector each; each is answered by itself. Raises as `call` does."""
        self._check_open()
        number = next(self._numbers)
        vectors = np.concatenate([append.vectors for append in appends])
        if vectors.nbytes < IN_ARENA_BYTES:
            frame = encode_group(number, head, appends, vectors)
        else:
            place = self._arena.put(vectors)
            frame = encode_group(number, head._replace(place=place), appends, None)
        return decode_outcomes(await self._send(number, frame), self._dim)

    async def admit(self, owner: str, *, requests: int = 0, vectors: int = 0) -> None:
        """Take from the limits of a key's holder. Raises `CallerLimited`, and as `call` does."""
        self._check_open()
        number = next(self._numbers)
        await self._send(number, messages.encode_admission(number, owner, requests, vectors))

    def count_refusal(self) -> None:
        """Tell the engine process, which counts, that a request was refused unread."""
        if self._transport is not None and not self._is_full:
            self._transport.write(encode(FrameKind.REFUSED))

    def close(self) -> None:
        """Close the stream."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=MAX_UNSENT_BYTES)
        self._sweep = self._loop.call_later(_SWEEP_SECONDS, self._end_late_calls)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  a callback
        self._transport = None
        if self._sweep is not None:
            self._sweep.cancel()
        if self._decoder.pending:
            logger.error("the stream from the engine process ended within a frame")
        for future, _ in self._pending.values():
            if not future.done():
                future.set_exception(_engine_ended())
        self._pending.clear()
        self._on_lost()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                self._take(frame)
        except FrameError as error:
            logger.error("the engine process sent what is no frame: %s", error)  # noqa: TRY400  an expected error
            assert self._transport is not None
            self._transport.abort()

    def _take(self, frame: Frame) -> None:
        if frame.kind in _ANSWERS:
            found = self._pending.pop(frame.number, None)
            if found is not None and not found[0].done():
                found[0].set_result(frame)
        elif frame.kind is FrameKind.RELEASE:
            for place in messages.decode_release(frame):
                self._arena.give_back(place)
        elif frame.kind is FrameKind.STATE:
            state = messages.decode_state(frame)
            self._dim = state.dim
            self._on_state(state)
        else:
            raise FrameError(f"a worker takes no {frame.kind.name}")

    def _check_open(self) -> None:
        if self._transport is None or self._transport.is_closing():
            raise _engine_ended()
        if self._is_full:
            raise QueueFull("the engine does not keep up with the requests; retry later", 1.0)

    async def _send(self, number: int, frame: bytes) -> Frame:
        assert self._transport is not None
        future: asyncio.Future[Frame] = self._loop.create_future()
        self._pending[number] = future, self._loop.time()
        self._transport.write(frame)
        try:
            found = await future
        except asyncio.CancelledError:
            # The caller has gone. A transport that closes ends all calls anyway.
            if self._pending.pop(number, None) is not None and self._transport is not None:
                self._transport.write(encode(FrameKind.CANCEL, number))
            raise
        if found.kind is FrameKind.FAILURE:
            raise decode_failure(found)
        return found

    def _end_late_calls(self) -> None:
        self._sweep = self._loop.call_later(_SWEEP_SECONDS, self._end_late_calls)
        oldest = self._loop.time() - self._patience
        for number, (future, began) in list(self._pending.items()):
            if began > oldest:
                return
            del self._pending[number]
            if not future.done():
                future.set_exception(
                    DeadlineExceeded("the engine process did not answer: its log may say why")
                )
            if self._transport is not None:
                self._transport.write(encode(FrameKind.CANCEL, number))


def _engine_ended() -> NotReady:
    return NotReady("the engine process has ended; it starts again: wait for /v2/health/ready")
