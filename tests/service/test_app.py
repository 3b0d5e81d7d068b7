"""The end of the service: every part is closed, whatever fails before."""

from __future__ import annotations

from service import app


async def test_a_part_that_cannot_be_closed_keeps_no_other_open(caplog):
    closed = []

    async def fail():
        raise OSError("the disk is gone")

    async def close():
        closed.append("sessions")

    await app._close(fail, close)
    assert ["sessions"] == closed
    assert "the disk is gone" in caplog.text
