"""Parameters that every rollout change takes besides its body.

`If-Match` names the generation that the caller has seen, `Idempotency-Key` makes a
retry safe, and `dryRun=All` previews the change.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Header, Query, Request

from service.api.access.identity import Identity
from service.errors import Invalid, quoted
from service.rollout.state.change_request import ChangeOptions, ChangeRequest

_ETAG = re.compile(r'\s*(?:W/)?"?(\d{1,18})"?\s*\Z')
_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")


@dataclass(frozen=True)
class ChangeParameters:
    """The parameters of one change. Headers are parsed on use, so that `abort` can ignore them."""

    request: Request
    dry_run: bool
    key: str | None

    @property
    def generation(self) -> int | None:
        """The generation in `If-Match`, or None without that header. Raises `Invalid`."""
        given = self.request.headers.get("if-match")
        if given is None:
            return None
        match = _ETAG.match(given)
        if match is None:
            raise Invalid(f'If-Match is {quoted(given)}: send the ETag of the status, e.g. "7"')
        return int(match[1])

    async def options(self, caller: Identity) -> ChangeOptions:
        """Return how the change is to be carried out. Raises `Invalid` for an unusable key."""
        if self.key is None:
            return ChangeOptions(self.dry_run)
        if not _KEY.match(self.key):
            raise Invalid(
                "Idempotency-Key must be 1 to 255 visible ASCII characters, for example a UUID"
            )
        url = self.request.url
        parts = [url.path.encode(), url.query.encode(), await self.request.body()]
        digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
        return ChangeOptions(self.dry_run, ChangeRequest(caller.name, self.key, digest))


async def _change_parameters(
    request: Request,
    dry_run: Annotated[
        Literal["All"] | None,
        Query(alias="dryRun", description="`All`: preview the change without making it."),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="A repeated key with the same request returns the stored response "
            "without repeating the change."
        ),
    ] = None,
) -> ChangeParameters:
    return ChangeParameters(request, dry_run is not None, idempotency_key)


Change = Annotated[ChangeParameters, Depends(_change_parameters)]
