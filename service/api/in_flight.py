"""A bound for the predictions that are in the service at once, whatever they wait for."""

from __future__ import annotations

from collections.abc import Callable

from service.errors import QueueFull
from service.settings import EngineSettings


class InFlightLimit:
    """Counts predictions from the end of their body to their answer.

    The scheduler bounds its queue, but a request may also wait for the lock of a session, or
    for the event loop. This bound holds for all of them together: what `versions` loaded
    versions may queue, and a batch of each. A request above it is refused before its body is
    parsed, so that a refusal costs little. Of `share` processes each has its part of the bound.
    """

    def __init__(self, engine: EngineSettings, versions: Callable[[], int], share: int = 1) -> None:
        self._of_version = engine.queue_limit + engine.max_batch
        self._share = share
        self._versions = versions
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def enter(self) -> None:
        """Count a prediction. Raises `QueueFull`; it is then not counted."""
        most = -(-self._of_version * max(1, self._versions()) // self._share)
        if self._count >= most:
            raise QueueFull(f"{self._count} predictions are in progress; try again later", 1.0)
        self._count += 1

    def leave(self) -> None:
        """Count a prediction less."""
        self._count -= 1
