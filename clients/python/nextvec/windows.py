"""The windows of the service's versions: how many vectors of a session are worth keeping."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from nextvec.exchange import Budget, Call, Operation, Reply

USUAL_WINDOW = 1000
"""Vectors that are kept if the service does not tell its windows."""


@dataclass
class WindowTable:
    """What the service has told of its versions. Shared by the sessions of a client."""

    windows: dict[str, int] = field(default_factory=dict)
    asked_for: set[str] = field(default_factory=set)

    @property
    def largest(self) -> int | None:
        """The largest window, in vectors; None before the service was asked."""
        if self.windows:
            return max(self.windows.values())
        return USUAL_WINDOW if self.asked_for else None

    def is_new(self, version: str) -> bool:
        """Whether the service has not been asked since `version` appeared."""
        return version not in self.asked_for


def learn(table: WindowTable, version: str, budget: Budget) -> Operation[None]:
    """Ask the service for its windows, once for each new `version`, and once only.

    What goes wrong is ignored: it costs memory, or vectors that a lost session would need.
    """
    table.asked_for.add(version)  # at once: other sessions need not ask as well
    outcome = yield Call("GET", "/v2", timeout=min(budget.timeout, max(budget.left, 0.001)))
    if not isinstance(outcome, Reply):
        table.asked_for.discard(version)
        return
    if outcome.is_success:
        table.windows.update(_parse(outcome.content))
        table.asked_for.update(table.windows)


def _parse(content: bytes) -> dict[str, int]:
    try:
        models = json.loads(content)["models"]
        found = {str(model["version"]): int(model["context_window"]) for model in models}
    except (ValueError, KeyError, TypeError):
        return {}
    return {version: window for version, window in found.items() if window > 0}
