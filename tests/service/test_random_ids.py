"""Random ids: unique, of one form, and not shared with a child process."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.random_ids import RandomIds


def test_ids_are_different_and_have_32_hexadecimal_digits():
    ids = RandomIds()
    drawn = [ids.draw() for _ in range(2000)]
    assert len(set(drawn)) == 2000
    assert {len(one) for one in drawn} == {32}
    assert len({int(one, 16) for one in drawn}) == 2000


def test_threads_draw_different_ids():
    ids = RandomIds()
    with ThreadPoolExecutor(8) as threads:
        drawn = list(threads.map(lambda _: ids.draw(), range(5000)))
    assert len(set(drawn)) == 5000


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_forked_process_draws_other_ids():
    ids = RandomIds()
    ids.draw()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, "".join(ids.draw() for _ in range(100)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    text = os.read(reader, 100_000).decode()
    of_child = {text[at : at + 32] for at in range(0, 3200, 32)}
    assert len(of_child) == 100
    assert not of_child & {ids.draw() for _ in range(300)}
