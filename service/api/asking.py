"""What an admin request says besides its body: what was seen, and how it is meant."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Header, Query, Request

from service.api.security import Role
from service.errors import Invalid
from service.rollout.controller.change_request import Call, Terms

_ETAG = re.compile(r'\s*(?:W/)?"?(\d{1,18})"?\s*\Z')
_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")


@dataclass(frozen=True)
class Asking:
    """A change, as its request puts it."""

    request: Request
    dry_run: bool
    key: str | None

    @property
    def generation(self) -> int | None:
        """The generation the caller has seen, None where it does not say. Raises `Invalid`."""
        given = self.request.headers.get("if-match")
        if given is None:
            return None
        match = _ETAG.match(given)
        if match is None:
            raise Invalid(f'If-Match is {given!r}: send the ETag of the status, e.g. "7"')
        return int(match[1])

    async def terms(self, role: Role) -> Terms:
        """Raises `Invalid` for a key that is none."""
        if self.key is None:
            return Terms(self.dry_run)
        if not _KEY.match(self.key):
            raise Invalid(
                "Idempotency-Key must be 1 to 255 visible ASCII characters: a UUID, for instance"
            )
        url = self.request.url
        what = [url.path.encode(), url.query.encode(), await self.request.body()]
        digest = hashlib.sha256(b"\0".join(what)).hexdigest()
        return Terms(self.dry_run, Call(role.name.lower(), self.key, digest))


async def _asking(
    request: Request,
    dry_run: Annotated[
        Literal["All"] | None,
        Query(alias="dryRun", description="`All`: say what would happen, and change nothing"),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        Header(description="the same key with the same request is answered the same again"),
    ] = None,
) -> Asking:
    return Asking(request, dry_run is not None, idempotency_key)


Asked = Annotated[Asking, Depends(_asking)]
