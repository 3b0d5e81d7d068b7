"""Random ids that nobody can guess, at a small cost each."""

from __future__ import annotations

import os

ID_BYTES = 16
_POOL_BYTES = 256 * ID_BYTES


class RandomIds:
    """Draws ids of 128 bits from the system's generator, many at a time.

    A call of the system's generator releases the interpreter's lock. Under load the event loop
    then waits for the engine's threads to give it back: 40 µs where the bytes themselves take
    0.2 µs. Several threads may draw at once: `list.pop` is atomic.
    """

    def __init__(self) -> None:
        self._pool: list[str] = []
        if hasattr(os, "register_at_fork"):
            # A child process must not draw the ids of its parent.
            os.register_at_fork(after_in_child=self._pool.clear)

    def draw(self) -> str:
        """Return 32 hexadecimal digits."""
        try:
            return self._pool.pop()
        except IndexError:
            text = os.urandom(_POOL_BYTES).hex()
            width = 2 * ID_BYTES
            self._pool.extend(text[at : at + width] for at in range(width, len(text), width))
            return text[:width]


draw_id = RandomIds().draw
"""Draw from the pool of this process."""
