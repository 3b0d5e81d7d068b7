"""The methods of the Open Inference Protocol over gRPC."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from importlib.metadata import version as installed_version
from typing import Any, TypeAlias

import grpc

from service.api import request_context, request_headers
from service.api.access.api_keys import LimitedCaller
from service.api.codecs.tensors import InferRequest
from service.api.errors import status_of
from service.api.http_call import note_prediction
from service.api.infer_call import InferCall, require_known, slowest
from service.api.parameters import check_headers
from service.api.routes import model_metadata
from service.api.services import Services
from service.errors import NextvecError, NotFound
from service.observability import request_scope, tracing
from service.observability.request_scope import RequestScope
from service.rpc import codec, messages
from service.rpc.status import details, error_metadata, grpc_status

logger = logging.getLogger(__name__)

EXTENSIONS = ["parameters", "sequence", "sequence(string_id)"]
"""Those of the protocol's extensions that exist over gRPC."""

STREAM_REQUESTS = 32
"""Requests of one stream that are answered at once; a stream is read no further ahead."""

Context: TypeAlias = Any
"""`grpc.aio.ServicerContext`; grpc has no types."""
Headers = list[tuple[bytes, bytes]]


class InferenceService:
    """Answers the calls. Raw bytes come in: a request is parsed after its caller is known."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """Return the handler of each method of `messages.SERVICE`."""
        return {
            "ServerLive": _unary(self.server_live, messages.ServerLiveRequest),
            "ServerReady": _unary(self.server_ready, messages.ServerReadyRequest),
            "ModelReady": _unary(self.model_ready, messages.ModelReadyRequest),
            "ServerMetadata": _unary(self.server_metadata, messages.ServerMetadataRequest),
            "ModelMetadata": _unary(self.model_metadata, messages.ModelMetadataRequest),
            "ModelInfer": grpc.unary_unary_rpc_method_handler(
                self.model_infer, response_serializer=_serialize
            ),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(
                self.model_stream_infer, response_serializer=_serialize
            ),
        }

    async def server_live(self, _request: Any, _context: Context) -> Any:
        """Report that the process is running."""
        return messages.ServerLiveResponse(live=True)

    async def server_ready(self, _request: Any, _context: Context) -> Any:
        """Report whether versions are loaded and warm; false while draining."""
        return messages.ServerReadyResponse(ready=self._services.ready)

    async def model_ready(self, request: Any, context: Context) -> Any:
        """Report whether the model, or one version of it, can answer."""

        async def answer() -> Any:
            require_known(request.name, self._services)
            loaded = {found.manifest.version for found in self._services.registry.loaded}
            ready = not request.version or request.version in loaded
            return messages.ModelReadyResponse(ready=self._services.ready and ready)

        return await _or_abort(answer(), context)

    async def server_metadata(self, _request: Any, _context: Context) -> Any:
        """Return the server's name, version and protocol extensions."""
        return messages.ServerMetadataResponse(
            name="nextvec",
            version=installed_version("nextvec"),
            extensions=EXTENSIONS,
        )

    async def model_metadata(self, request: Any, context: Context) -> Any:
        """Return the model's tensors and its loaded versions."""

        async def answer() -> Any:
            services = self._services
            require_known(request.name, services)
            if request.version:
                services.registry.get(request.version)
            found = model_metadata.metadata(request.name, services.registry.loaded, services.dim)
            return messages.ModelMetadataResponse(**found)

        return await _or_abort(answer(), context)

    async def model_infer(self, content: bytes, context: Context) -> Any:
        """Predict the vector that follows each context, or continue a sequence."""
        state, headers = self._begin(context)
        began = time.perf_counter()
        status = 499
        try:
            response = await self._answer(content, headers, state, _seconds_left(context))
            status = 200
        except NextvecError as error:
            status = status_of(error)
            metadata = error_metadata(error) + _metadata(state, began)
            await context.abort(grpc_status(error), details(error), tuple(metadata))
        except asyncio.CancelledError:
            raise
        except Exception:
            status = 500
            logger.exception("request %s failed", state["request_id"])
            internal = NextvecError("internal error; the log has the details under this request id")
            metadata = error_metadata(internal) + _metadata(state, began)
            await context.abort(grpc.StatusCode.INTERNAL, details(internal), tuple(metadata))
        finally:
            self._record(state, "ModelInfer", status, began)
        context.set_trailing_metadata(tuple(_metadata(state, began)))
        return response

    async def model_stream_infer(
        self, requests: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[Any]:
        """Answer each request of a stream, in order; an error answers its request alone.

        Requests run side by side, those of one sequence one after the other.
        """
        _, headers = self._begin(context)
        pending: deque[asyncio.Task[Any]] = deque()
        reading = asyncio.ensure_future(_next(requests))
        more = True
        try:
            while more or pending:
                room = more and len(pending) < STREAM_REQUESTS
                waits = ([reading] if room else []) + ([pending[0]] if pending else [])
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if room and reading.done():
                    content = reading.result()
                    more = content is not None
                    if content is not None:
                        pending.append(asyncio.ensure_future(self._stream_answer(content, headers)))
                        reading = asyncio.ensure_future(_next(requests))
                while pending and pending[0].done():
                    yield pending.popleft().result()
        finally:
            for task in (reading, *pending):
                task.cancel()
            await asyncio.gather(reading, *pending, return_exceptions=True)

    async def _stream_answer(self, content: bytes, headers: Headers) -> Any:
        began = time.perf_counter()
        # A stream has one request id; its requests need one each.
        state: RequestScope = {}
        own = [(name, value) for name, value in headers if name != b"x-request-id"]
        request_context.begin(state, own, self._services.tracing)
        request_scope.enter(state)
        status = 499
        try:
            response = await self._answer(content, headers, state, None)
            status = 200
        except NextvecError as error:
            status = status_of(error)
            message = f"{error.code}: {details(error)}"
            # Clients find the request by the id, as Triton's do.
            response = messages.ModelInferResponse(id=_id_of(content))
            return messages.ModelStreamInferResponse(error_message=message, infer_response=response)
        except Exception:
            status = 500
            logger.exception("request %s failed", state["request_id"])
            message = f"internal: the log has the details under request {state['request_id']}"
            return messages.ModelStreamInferResponse(error_message=message)
        finally:
            self._record(state, "ModelStreamInfer", status, began)
        return messages.ModelStreamInferResponse(infer_response=response)

    async def _answer(
        self, content: bytes, headers: Headers, state: RequestScope, seconds_left: float | None
    ) -> Any:
        """Return the `ModelInferResponse`. Raises `NextvecError`."""
        arrived = time.perf_counter()
        services = self._services
        services.check_accepting()
        check_headers(headers)
        caller = self._caller(headers)
        if caller is not None:
            state["caller"] = caller.name
            await caller.take_request()
        services.in_flight.enter()
        try:
            services.bodies.reserve(len(content), len(content))
            return await self._predict(content, headers, state, caller, arrived, seconds_left)
        finally:
            services.bodies.release(len(content))
            services.in_flight.leave()

    async def _predict(
        self,
        content: bytes,
        headers: Headers,
        state: RequestScope,
        caller: LimitedCaller | None,
        arrived: float,
        seconds_left: float | None,
    ) -> Any:
        services = self._services
        message = codec.read_message(content)
        texts = {n.decode("latin-1"): v.decode("latin-1") for n, v in reversed(headers)}
        call = InferCall(
            services,
            message.model_name,
            message.model_version or None,
            texts.get("x-routing-key") or None,
            request_headers.variant_override(texts),
            caller,
            request_headers.caller_digest(caller, texts),
        )
        call.check()
        dim, most = services.dim, services.settings.limits.max_rows

        def work() -> InferRequest:
            return codec.read_infer(message, dim, most)

        raw = bool(message.raw_input_contents)
        wanted = await services.parsing.run(0 if raw else len(content), work)
        if seconds_left is not None:
            shortest = min(seconds_left, wanted.timeout_seconds or seconds_left)
            wanted = replace(wanted, timeout_seconds=shortest)
        made = await call.predict(wanted, time.perf_counter() - arrived)
        note_prediction(state, slowest(made))
        vectors = [prediction.vector for prediction in made]
        return codec.render(message.model_name, made[0].route.version, wanted.id, vectors)

    def _caller(self, headers: Headers) -> LimitedCaller | None:
        keys = self._services.authenticator.api_keys
        return keys.find(headers) if keys.required else None

    def _begin(self, context: Context) -> tuple[RequestScope, Headers]:
        headers = header_fields(context.invocation_metadata())
        state: RequestScope = {}
        request_context.begin(state, headers, self._services.tracing)
        request_scope.enter(state)
        return state, headers

    def _record(self, state: RequestScope, method: str, status: int, began: float) -> None:
        path = f"/{messages.SERVICE}/{method}"
        seconds = time.perf_counter() - began
        self._services.access_log.write(state, "POST", path, status, seconds)
        tracing.end_request(state, "POST", path, status)


def header_fields(metadata: Any) -> Headers:
    """Return a call's metadata as HTTP header fields with lower-case names."""
    return [
        (name.encode("latin-1", "replace"), value if isinstance(value, bytes) else value.encode())
        for name, value in metadata or ()
    ]


def _metadata(state: RequestScope, began: float) -> list[tuple[str, str]]:
    """What the headers of an HTTP response say, as trailing metadata."""
    fields = request_context.headers(state, time.perf_counter() - began)
    return [(name.decode("ascii"), value.decode("ascii")) for name, value in fields]


def _seconds_left(context: Context) -> float | None:
    """Seconds until the caller's deadline; None without one."""
    left: float | None = context.time_remaining()
    return None if left is None else max(left, 1e-3)


async def _next(requests: AsyncIterator[bytes]) -> bytes | None:
    return await anext(aiter(requests), None)


def _id_of(content: bytes) -> str:
    try:
        found: str = codec.read_message(content).id
    except NextvecError:
        return ""
    return found


async def _or_abort(answer: Coroutine[Any, Any, Any], context: Context) -> Any:
    try:
        return await answer
    except NotFound as error:
        await context.abort(grpc_status(error), details(error), tuple(error_metadata(error)))


def _serialize(message: Any) -> bytes:
    content: bytes = message.SerializeToString()
    return content


def _unary(method: Callable[[Any, Context], Any], request: Any) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        method, request_deserializer=request.FromString, response_serializer=_serialize
    )
