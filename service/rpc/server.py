"""The gRPC server: its port, its limits, the check of keys, health and reflection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from service.api.access.api_keys import key_failure
from service.api.access.authenticator import NO_ADDRESS
from service.api.services import Services
from service.errors import NextvecError, NotReady
from service.random_ids import draw_id
from service.rpc import messages
from service.rpc.inference_service import Context, InferenceService, header_fields
from service.rpc.status import details, error_metadata, grpc_status
from service.settings import Settings

logger = logging.getLogger(__name__)

HEALTH_SECONDS = 0.2
"""Seconds between two checks of the readiness that the health service reports."""

_HEAD_BYTES = 64 * 1024
_PREDICTIONS = {f"/{messages.SERVICE}/{name}" for name in ("ModelInfer", "ModelStreamInfer")}


class RpcServer:
    """Serves the Open Inference Protocol on `settings.rpc.port` until `stop`."""

    def __init__(self, services: Services) -> None:
        """Raises `NotReady` if the port or the certificate cannot be used."""
        self._services = services
        settings = services.settings
        limits, rpc = settings.limits, settings.rpc
        self._server = grpc.aio.server(
            interceptors=[_KeyCheck(services)],
            options=[
                ("grpc.max_receive_message_length", limits.max_body_bytes + _HEAD_BYTES),
                ("grpc.max_metadata_size", _HEAD_BYTES),
                ("grpc.max_concurrent_streams", rpc.max_streams),
                ("grpc.so_reuseport", 0),  # a second service on the port is an error
            ],
        )
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    messages.SERVICE, InferenceService(services).handlers()
                ),
            )
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if rpc.reflection:
            names = (messages.SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server, _reflection_pool())
        self.port = self._bind(settings)
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Accept calls."""
        await self._server.start()
        self._watch = asyncio.create_task(self._report_health())
        logger.info("gRPC: listening on port %d", self.port)

    async def stop(self, seconds: float) -> None:
        """Refuse new calls, and wait up to `seconds` for those in progress."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        await self._health.enter_graceful_shutdown()
        await self._server.stop(seconds)

    def _bind(self, settings: Settings) -> int:
        port = settings.rpc.port or 0
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        tls = settings.tls
        try:
            if tls.certificate is None or tls.key is None:
                bound = self._server.add_insecure_port(f"{host}:{port}")
            else:
                credentials = _credentials(tls.certificate, tls.key)
                bound = self._server.add_secure_port(f"{host}:{port}", credentials)
        except RuntimeError as error:
            raise NotReady(
                f"gRPC cannot listen on {host} port {port}; choose another rpc.port"
            ) from error
        except OSError as error:
            raise NotReady(f"gRPC: {error}") from error
        return int(bound)

    async def _report_health(self) -> None:
        """Keep the health service's answer at the service's readiness."""
        reported = None
        while True:
            ready = self._services.ready
            if ready != reported:
                status = health_pb2.HealthCheckResponse
                value = status.SERVING if ready else status.NOT_SERVING
                for name in ("", messages.SERVICE):
                    await self._health.set(name, value)
                reported = ready
            await asyncio.sleep(HEALTH_SECONDS)


class _KeyCheck(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Refuses a prediction without a valid API key before its message is read."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        keys = self._services.authenticator.api_keys
        headers = header_fields(handler_call_details.invocation_metadata)
        wants_key = keys.required and handler_call_details.method in _PREDICTIONS
        if not wants_key or keys.find(headers) is not None:
            return await continuation(handler_call_details)
        texts = {name.decode("latin-1"): "" for name, _ in headers}

        async def refuse(_requests: Any, context: Context) -> None:
            try:
                await self._services.authenticator.refuse_key(
                    key_failure(texts), _address(context.peer()), draw_id()
                )
            except NextvecError as error:
                await context.abort(
                    grpc_status(error), details(error), tuple(error_metadata(error))
                )

        # A handler of a stream is called before the first message is read.
        return grpc.stream_stream_rpc_method_handler(refuse)


def _reflection_pool() -> DescriptorPool:
    """The protocol's descriptors with those of health and of reflection itself."""
    for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        messages.POOL.AddSerializedFile(file.serialized_pb)
    return messages.POOL


def _address(peer: str) -> str:
    """Return the address in gRPC's name of a peer, such as `ipv4:127.0.0.1:5000`."""
    kind, _, rest = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return NO_ADDRESS
    return rest.rpartition(":")[0].strip("[]").replace("%5B", "").replace("%5D", "")


def _credentials(certificate: Path, key: Path) -> grpc.ServerCredentials:
    """Return credentials whose certificate follows its files. Raises `OSError`."""
    seen: tuple[int, int] | None = None

    def configuration() -> Any:
        nonlocal seen
        found = (certificate.stat().st_mtime_ns, key.stat().st_mtime_ns)
        if found == seen:
            return None  # nothing has changed
        pair = (key.read_bytes(), certificate.read_bytes())
        seen = found
        return grpc.ssl_server_certificate_configuration([pair])

    def changed() -> Any:
        try:
            return configuration()
        except OSError as error:
            logger.error("gRPC: the old certificate stays in use: %s", error)  # noqa: TRY400  an expected error
            return None

    first = configuration()
    return grpc.dynamic_ssl_server_credentials(first, changed)
