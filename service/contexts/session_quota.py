"""The owner of sessions, and the bounds of what it may keep."""

from __future__ import annotations

from collections.abc import Callable

from service.errors import CallerLimited

_RETRY_SECONDS = 10.0
"""What an owner with too many sessions is told to wait."""


class SessionQuota:
    """The owner of sessions, and the bounds of what it may keep. None sets no bound.

    A session belongs to the owner that began it; to others it does not exist. Without an
    owner, None, a session belongs to everybody.
    """

    def __init__(
        self,
        name: str,
        max_sessions: int | None = None,
        max_bytes: int | None = None,
        *,
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._on_refusal = on_refusal
        self.sessions = self.nbytes = 0
        self.max_sessions = max_sessions
        self._max_bytes = max_bytes

    def check_new(self) -> None:
        """Raise `CallerLimited` if the owner may not begin another session."""
        if self.max_sessions is not None and self.sessions >= self.max_sessions:
            raise self.refusal(self.sessions)
        self.check_bytes()

    def check_bytes(self) -> None:
        """Raise `CallerLimited` if the owner's sessions take all the memory that they may."""
        if self._max_bytes is not None and self.nbytes >= self._max_bytes:
            self._on_refusal()
            raise CallerLimited(
                f"the sessions of {self.name} take {self.nbytes} bytes, the most that they may: "
                "delete some, or wait until they expire",
                _RETRY_SECONDS,
            )

    def refusal(self, sessions: int) -> CallerLimited:
        """Count a refusal, and return the error for an owner with that many `sessions`."""
        self._on_refusal()
        return CallerLimited(
            f"{self.name} has {sessions} sessions, the most that it may have: "
            "delete some, or wait until they expire",
            _RETRY_SECONDS,
        )
