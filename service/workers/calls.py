"""The engine process's side of one worker: it runs the worker's calls."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import cast

import numpy as np

from service.api.access.api_keys import KeyHolder
from service.api.services import Services
from service.contexts.session_quota import SessionQuota
from service.errors import NextvecError
from service.observability import request_scope
from service.observability.request_scope import RequestScope
from service.prediction.immediate_append import ImmediateAppend
from service.prediction.request import Prediction, RequestOptions, SessionAppend
from service.types import Vectors
from service.workers import messages
from service.workers.arena import MappedArena
from service.workers.failures import encode_failure
from service.workers.frames import Frame, FrameDecoder, FrameError, FrameKind, encode
from service.workers.group_messages import GroupHead, decode_group, encode_outcomes
from service.workers.messages import EngineCall, ServiceState

logger = logging.getLogger(__name__)

MAX_UNSENT_BYTES = 8 * 1024 * 1024
"""Results that wait for the worker to read them. Above it, nothing more is read from it."""


class WorkerCalls(asyncio.Protocol):
    """Runs the calls of one worker. One that has to wait for more than the engine gets a task.

    `arena` is the descriptor of its shared memory. `on_lost` is called when the worker has gone.
    """

    def __init__(
        self,
        services: Services,
        arena: int,
        on_lost: Callable[[WorkerCalls], None],
    ) -> None:
        self._services = services
        self._arena = MappedArena(arena, self._release)
        self._on_lost = on_lost
        self._decoder = FrameDecoder()
        self._running: dict[int, asyncio.Task[None] | ImmediateAppend] = {}
        # Appends in tasks, by session: what comes after them must not get in between.
        self._in_turn: Counter[str] = Counter()
        self._released: list[int] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._holders: Mapping[str, KeyHolder] = {
            holder.name: holder for holder in services.authenticator.api_keys.holders
        }

    @property
    def running(self) -> int:
        """Calls without a result."""
        return len(self._running)

    def close(self) -> None:
        """Close the stream."""
        if self._transport is not None:
            self._transport.close()

    def tell(self, state: ServiceState) -> None:
        """Send the worker the state of the service."""
        if self._transport is not None:
            self._transport.write(messages.encode_state(state))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=MAX_UNSENT_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  a callback
        self._transport = None
        if self._decoder.pending:
            logger.warning("the stream of a worker ended within a frame")
        for running in list(self._running.values()):
            running.cancel()
        self._running.clear()
        self._on_lost(self)

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                self._take(frame)
        except FrameError as error:
            logger.error("a worker sent what is no frame: %s", error)  # noqa: TRY400  an expected error
            assert self._transport is not None
            self._transport.abort()

    def _take(self, frame: Frame) -> None:
        if frame.kind is FrameKind.APPEND or frame.kind is FrameKind.PREDICT:
            call, vectors = messages.decode_call(frame, self._services.dim)
            if isinstance(vectors, int):
                vectors = self._arena.read(vectors, sum(call.lengths), self._services.dim)
            if not self._append_at_once(frame.number, call, vectors):
                if call.session is not None:
                    self._in_turn[call.session] += 1
                task = self._loop.create_task(self._run(frame.number, call, vectors))
                self._running[frame.number] = task
        elif frame.kind is FrameKind.STEPS:
            self._start_group(frame)
        elif frame.kind is FrameKind.CANCEL:
            found = self._running.pop(frame.number, None)
            if found is not None:
                found.cancel()
        elif frame.kind is FrameKind.ADMIT:
            self._admit(frame)
        elif frame.kind is FrameKind.REFUSED:
            self._services.on_refusal()
        else:
            raise FrameError(f"the engine process takes no {frame.kind.name}")

    def _admit(self, frame: Frame) -> None:
        name, requests, vectors = messages.decode_admission(frame)
        try:
            self._holder(name).take(requests, vectors)
        except NextvecError as error:
            self._send(encode_failure(frame.number, error))
        else:
            self._send(encode(FrameKind.ADMITTED, frame.number))

    def _append_at_once(self, number: int, call: EngineCall, vectors: Vectors) -> bool:
        """Give an append to the engine; False if it has to wait for something else first."""
        if call.session is None or call.traceparent is not None or call.session in self._in_turn:
            return False
        answer = partial(self._answer, number, call.request_id)
        try:
            self._services.check_accepting()
            append = self._services.dispatch.begin_append(
                call.session,
                vectors,
                self._options(call),
                answer,
                position=call.position,
                begin=call.begin,
                end=call.end,
            )
        except Exception as error:  # noqa: BLE001  whatever it is, the worker waits for an answer
            answer(error)
            return True
        if append is not None and not append.done():
            self._running[number] = append
        return append is not None

    def _answer(
        self, number: int, request_id: str | None, outcome: Prediction | BaseException
    ) -> None:
        self._running.pop(number, None)
        if not isinstance(outcome, BaseException):
            self._send(messages.encode_result(number, [outcome]))
            return
        if not isinstance(outcome, NextvecError):
            logger.error("request %s failed", request_id, exc_info=outcome)
        self._send(encode_failure(number, outcome))

    async def _run(self, number: int, call: EngineCall, vectors: Vectors) -> None:
        self._enter_scope(call)
        try:
            predictions = await self._predict(call, vectors)
        except Exception as error:  # noqa: BLE001  whatever it is, the worker waits for an answer
            self._answer(number, call.request_id, error)
        else:
            self._send(messages.encode_result(number, predictions))
        finally:
            self._running.pop(number, None)
            if call.session is not None:
                self._in_turn[call.session] -= 1
                if not self._in_turn[call.session]:
                    del self._in_turn[call.session]

    def _start_group(self, frame: Frame) -> None:
        dim = self._services.dim
        head, appends = decode_group(frame, dim)
        if head.place is not None:
            vectors = self._arena.read(head.place, len(appends), dim)
            appends = [
                append._replace(vectors=vectors[row : row + 1])
                for row, append in enumerate(appends)
            ]
        task = self._loop.create_task(self._run_group(frame.number, head, appends))
        self._running[frame.number] = task

    async def _run_group(
        self, number: int, head: GroupHead, appends: Sequence[SessionAppend]
    ) -> None:
        self._enter_scope(head)
        options = RequestOptions(
            override=head.override,
            timeout_seconds=head.timeout_seconds,
            request_id=head.request_id,
            owner=self._owner(head),
            waited_seconds=_waited(head),
        )
        try:
            self._services.check_accepting()
            outcomes = await self._services.dispatch.append_each(appends, options)
        except Exception as error:  # noqa: BLE001  whatever it is, the worker waits for an answer
            self._answer(number, head.request_id, error)
        else:
            self._send(encode_outcomes(number, outcomes, self._services.dim))
        finally:
            self._running.pop(number, None)

    def _enter_scope(self, call: EngineCall | GroupHead) -> None:
        """Make what is known of the request known to log lines and traces."""
        scope: RequestScope = {"request_id": call.request_id or ""}
        if call.owner is not None:
            scope["caller"] = call.owner
        if call.traceparent is not None:
            self._services.tracing.continue_request(scope, call.traceparent)
        request_scope.enter(scope)

    async def _predict(self, call: EngineCall, vectors: Vectors) -> list[Prediction]:
        self._services.check_accepting()
        dispatch, options = self._services.dispatch, self._options(call)
        if call.session is not None:
            return [
                await dispatch.append(
                    call.session,
                    vectors,
                    options,
                    position=call.position,
                    begin=call.begin,
                    end=call.end,
                )
            ]
        if call.batch:
            ends = np.cumsum(call.lengths)[:-1]
            return await dispatch.predict_batch(np.split(vectors, ends), options)
        return [await dispatch.predict(vectors, options)]

    def _options(self, call: EngineCall) -> RequestOptions:
        return RequestOptions(
            call.key,
            call.override,
            call.version,
            call.timeout_seconds,
            call.caller,
            call.request_id,
            self._owner(call),
            _waited(call),
        )

    def _owner(self, call: EngineCall | GroupHead) -> SessionQuota | None:
        return None if call.owner is None else self._holder(call.owner).quota

    def _holder(self, name: str) -> KeyHolder:
        found = self._holders.get(name)
        if found is None:
            raise FrameError(f"no API key has the holder {name!r}")
        return found

    def _send(self, frame: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frame)

    def _release(self, place: int) -> None:
        """Give a place back, with others of the same turn. It may be any thread that calls."""
        self._released.append(place)
        if len(self._released) == 1 and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._send_released)

    def _send_released(self) -> None:
        places, self._released = self._released, []
        self._send(messages.encode_release(places))


def _waited(call: EngineCall | GroupHead) -> float:
    """Seconds since the request arrived at its worker."""
    return max(0.0, time.monotonic() - call.arrived)
