"""The server: it listens, and drains before it stops."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.api.edge import Edge
from service.api.fast_path import FastPath
from service.api.listener import Listener, bind
from service.api.tls import CertificateLoader

logger = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """uvicorn's server with a listener that accepts in bursts, and with a visible drain.

    SIGTERM and SIGHUP begin a drain: readiness fails at once, and for `drain_seconds` all
    requests are still served. Then the listener closes, open requests are answered and the
    process ends. SIGINT, or a second signal, skips the wait.
    """

    def __init__(self, services: Edge, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._services = services
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        """Leave what exists now out of later collections, and let signals drain from here on."""
        # It lives until the end; to look at it again would delay requests.
        gc.collect()
        gc.freeze()
        # uvicorn installs the same handler for a while and then puts back what was there: a signal
        # before or after that must not be lost, nor end the process before the lifespan's end.
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self.handle_exit)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen. Ends the process if the address cannot be used."""
        if sys.platform == "win32":  # its event loop cannot watch a listening socket
            await super().startup(sockets)
            return
        config = self.config
        try:
            bound = sockets or await bind(config.host, config.port)
        except OSError as error:
            logger.error(  # noqa: TRY400  an expected error
                "cannot listen on %s port %s: %s; choose another address with --host or --port",
                config.host,
                config.port,
                os.strerror(error.errno) if error.errno and error.errno > 0 else error,
            )
            sys.exit(STARTUP_FAILURE)
        await self.lifespan.startup()
        self._listen(bound)
        self._announce(bound)
        self.started = True

    def _announce(self, bound: list[socket.socket]) -> None:
        self._log_started_message(bound)
        _log_addresses(self.config, bound)

    def _listen(self, bound: list[socket.socket]) -> None:
        self.servers = [
            Listener(bound, self._make_protocol, self._services.connections, self.config.ssl)  # type: ignore[list-item]  # has what uvicorn calls
        ]

    def _make_protocol(self) -> asyncio.Protocol:
        config = self.config
        return config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn calls it
            config=config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  a signal handler
        """Drain, or stop at once; see the class."""
        services = self._services
        seconds = services.settings.http.drain_seconds
        if self.should_exit:
            self.force_exit = sig == signal.SIGINT
        elif sig == signal.SIGINT or services.draining or not seconds:
            self._loop.call_soon_threadsafe(self._stop)
        else:
            services.draining = True
            logger.info("draining: serving for %g s more while readiness fails", seconds)
            self._loop.call_soon_threadsafe(self._loop.call_later, seconds, self._stop)

    def _stop(self) -> None:
        """Close the listener and answer what is open. An event stream would never end by itself."""
        self._services.draining = True
        self._services.close_subscriptions()
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer the open requests, then refuse new ones on connections that are still open."""
        self._services.accepting = False
        await super().shutdown(sockets)


def _log_addresses(config: uvicorn.Config, bound: list[socket.socket]) -> None:
    """Say where people look first. A wildcard address is shown as this machine's own name."""
    scheme = "https" if config.is_ssl else "http"
    host = "localhost" if config.host in {"0.0.0.0", "::"} else config.host  # noqa: S104  compared only
    host = f"[{host}]" if ":" in host else host
    base = f"{scheme}://{host}:{bound[0].getsockname()[1]}"
    logger.info("console %s/console, API %s/docs, metrics %s/metrics", base, base, base)


def server_config(
    app: ASGIApp,
    services: Edge,
    certificate: CertificateLoader | None = None,
    protocol: type[HttpToolsProtocol] = FastPath,
) -> uvicorn.Config:
    """Return uvicorn's configuration for `app`, whose lifespan has begun."""
    settings = services.settings
    trusted = list(settings.proxy.trusted)
    return uvicorn.Config(
        app,
        http=partial(protocol, services),  # type: ignore[arg-type]  # uvicorn only calls it
        ws="none",
        host=settings.host,
        port=settings.port,
        lifespan="off",
        log_config=None,
        access_log=False,
        workers=1,  # uvicorn would read WEB_CONCURRENCY
        forwarded_allow_ips=trusted,  # without it, uvicorn reads FORWARDED_ALLOW_IPS
        proxy_headers=bool(trusted),
        root_path=settings.proxy.root_path,
        ssl_context_factory=None if certificate is None else lambda *_: certificate.context,
        timeout_keep_alive=settings.http.keep_alive_seconds,  # type: ignore[arg-type]  # any number
        # Requests in flight end at their own deadline; an event stream has none.
        timeout_graceful_shutdown=int(settings.limits.timeout_seconds) + 1,
    )


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop of a server; None for the library's default."""
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415  not available on Windows

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
