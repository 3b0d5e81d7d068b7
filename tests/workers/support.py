"""What the tests of the workers share."""

from __future__ import annotations

import asyncio


async def wait_until(holds, seconds=10.0):
    """Wait until `holds()` is true."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0)
