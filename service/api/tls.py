"""HTTPS without a proxy: the certificate of `nextvec serve`, loaded again when it changes."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from service.settings import TlsSettings
from service.settings.loader import ConfigurationError

logger = logging.getLogger(__name__)

WATCH_SECONDS = 5.0


class CertificateLoader:
    """A TLS context whose certificate follows its files.

    Connections that exist keep the certificate that they began with.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises `ConfigurationError` if the files are no certificate with its key."""
        self._certificate = certificate
        self._key = key
        self._seen = self._signature()
        try:
            self.context = self._new_context()
        except (OSError, ValueError) as error:
            raise ConfigurationError([f"tls: {self._describe(error)}"]) from error

    async def watch(self) -> None:
        """Load the files again whenever they change, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            await asyncio.to_thread(self.reload)

    def reload(self) -> None:
        """Load the files if they have changed. Unusable ones are reported, and the old stay."""
        found = self._signature()
        if found == self._seen:
            return
        self._seen = found
        try:
            # A failed load could leave the live context with half of a pair: try another first.
            self._new_context()
            self.context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except (OSError, ValueError) as error:
            logger.error("the old certificate stays in use: %s", self._describe(error))  # noqa: TRY400  an expected error
        else:
            logger.info("loaded the changed certificate %s", self._certificate)

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._certificate, self._key, password=_no_password)
        return context

    def _signature(self) -> tuple[object, ...]:
        """What changes when a file is written or replaced."""
        found: list[object] = []
        for path in (self._certificate, self._key):
            try:
                status = path.stat()
            except OSError as error:
                found.append(error.errno)
            else:
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(found)

    def _describe(self, error: Exception) -> str:
        if isinstance(error, ssl.SSLError):
            reason = error.reason or "not PEM"
        elif isinstance(error, OSError):
            reason = str(error.strerror)
        else:
            reason = str(error)
        return f"cannot load the certificate {self._certificate} with the key {self._key}: {reason}"


def certificate_loader(settings: TlsSettings) -> CertificateLoader | None:
    """Return the loader of the configured certificate; None without one."""
    if settings.certificate is None or settings.key is None:
        return None
    return CertificateLoader(settings.certificate, settings.key)


def _no_password() -> str:
    # Without this, OpenSSL asks on the terminal.
    raise ValueError("the key has a password: store it without one, readable by the service only")
