"""What can go wrong with the storage of the rollout."""

from __future__ import annotations

from service.errors import NextvecError


class StoreError(NextvecError):
    """The storage cannot be used now. Its contents may be intact."""

    code = "store"


class StoreUnreadable(StoreError):
    """The contents are not a record of this service."""


class RecordConflict(StoreError):
    """Another replica has changed the rollout, or taken the lead, since the record was loaded.

    Nothing was stored. Load the record again and decide again.
    """

    code = "changed_meanwhile"
