"""A worker's predictor: it sends the calls to the engine process."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from service.api.access.api_keys import holder_digest
from service.contexts.session_quota import SessionQuota
from service.contexts.session_store import SessionStart
from service.errors import NextvecError, NotFound, quoted
from service.observability import request_scope
from service.prediction.request import Prediction, RequestOptions, SessionAppend
from service.settings.access import ApiKeySettings
from service.types import Vectors
from service.workers.group_messages import GroupHead
from service.workers.link import EngineLink
from service.workers.messages import MAX_TEXT, EngineCall


class RemotePredictor:
    """`Predictor` over a link."""

    def __init__(self, link: EngineLink) -> None:
        self._link = link

    async def predict(self, context: Vectors, options: RequestOptions) -> Prediction:
        """As `Dispatch.predict`, and as `EngineLink.call`."""
        (prediction,) = await self._link.call(_call([len(context)], options), context)
        return prediction

    async def predict_batch(
        self, contexts: Sequence[Vectors], options: RequestOptions
    ) -> list[Prediction]:
        """As `Dispatch.predict_batch`, and as `EngineLink.call`."""
        call = _call([len(context) for context in contexts], options)
        call.batch = True
        return await self._link.call(
            call, contexts[0] if len(contexts) == 1 else np.concatenate(contexts)
        )

    async def append(
        self,
        session_id: str,
        vectors: Vectors,
        options: RequestOptions,
        *,
        position: int | None = None,
        begin: SessionStart = SessionStart.IF_UNKNOWN,
        end: bool = False,
    ) -> Prediction:
        """As `Dispatch.append`, and as `EngineLink.call`."""
        request_scope.note("session", session_id)
        call = _call([len(vectors)], options)
        call.session, call.position, call.begin, call.end = session_id, position, begin, end
        (prediction,) = await self._link.call(call, vectors)
        return prediction

    async def append_each(
        self, appends: Sequence[SessionAppend], options: RequestOptions
    ) -> list[Prediction | NextvecError]:
        """As `Dispatch.append_each`, of one vector each, and as `EngineLink.call_group`."""
        scope = request_scope.current() or {}
        head = GroupHead(
            time.monotonic() - options.waited_seconds,
            options.override,
            options.timeout_seconds,
            options.request_id,
            None if options.owner is None else options.owner.name,
            scope.get("traceparent"),
        )
        return await self._link.call_group(head, appends) if appends else []


def _call(lengths: Sequence[int], options: RequestOptions) -> EngineCall:
    scope = request_scope.current() or {}
    version = options.version
    if version is not None and len(version.encode("utf-8", "replace")) > MAX_TEXT:
        raise NotFound(f"version {quoted(version)} is not loaded", code="version_not_found")
    return EngineCall(
        lengths,
        time.monotonic() - options.waited_seconds,
        key=options.key,
        override=options.override,
        version=version,
        timeout_seconds=options.timeout_seconds,
        caller=options.caller,
        request_id=options.request_id,
        owner=None if options.owner is None else options.owner.name,
        traceparent=scope.get("traceparent"),
    )


class RemoteKeyHolder:
    """The holder of an API key in a worker. Its limits are counted in the engine process."""

    def __init__(self, settings: ApiKeySettings, link: EngineLink) -> None:
        self.name = settings.name
        self.digest = holder_digest(settings.name)
        self.quota = SessionQuota(settings.name)
        self._link = link
        self._limits_requests = settings.requests_per_second is not None
        self._limits_vectors = settings.vectors_per_second is not None

    async def take_request(self) -> None:
        """Count one request. Raises `CallerLimited`, and as `EngineLink.call`."""
        if self._limits_requests:
            await self._link.admit(self.name, requests=1)

    async def take_vectors(self, count: int) -> None:
        """Count the vectors of a request. Raises `CallerLimited`, and as `EngineLink.call`."""
        if self._limits_vectors:
            await self._link.admit(self.name, vectors=count)
