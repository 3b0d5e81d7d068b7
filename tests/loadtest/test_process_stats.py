"""Readings of a process from /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

from loadtest.process_stats import process_tree, read_cpu_seconds, read_process


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


def test_work_is_counted_as_cpu_time_and_waiting_is_not():
    before = read_cpu_seconds(os.getpid())
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert 0.03 <= read_cpu_seconds(os.getpid()) - before
    assert read_cpu_seconds(2**22 + 1) == 0.0


def test_the_descendants_of_a_process_are_found():
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    found = {}
    try:
        # Between its fork and its own program, the child has the arguments of its parent.
        until = time.monotonic() + 30
        while ["input()"] not in [arguments[2:3] for arguments in found.values()]:
            assert time.monotonic() < until, found
            found = process_tree(parent.pid)
        assert len(found) == 2
        assert [script] == found[parent.pid][2:3]
    finally:
        parent.communicate(b"\n")
