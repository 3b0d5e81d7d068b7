"""Readings of a process from /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from loadtest.process_stats import read_process


def test_an_open_file_and_a_thread_are_counted(tmp_path):
    before = read_process(os.getpid())
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    with (tmp_path / "file").open("w"):
        during = read_process(os.getpid())
    release.set()
    thread.join()

    assert before.rss > 2**20
    assert during.descriptors == before.descriptors + 1
    assert during.threads == before.threads + 1


def test_a_process_that_has_ended_has_no_reading():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    # Not waited for yet: the process may still be in the table.
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert read_process(ended.pid) is None
    ended.wait()
    assert read_process(ended.pid) is None
