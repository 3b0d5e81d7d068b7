"""Lines reach a descriptor in order, and a reader that stalls stops nobody."""

from __future__ import annotations

import logging
import os
import threading

import pytest

from service.observability.line_handler import LineHandler


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            continue


def record(message):
    return logging.LogRecord("test", logging.INFO, "f.py", 1, message, None, None)


def read_all(descriptor):
    with os.fdopen(os.dup(descriptor), "rb") as stream:
        return stream.read().decode()


def test_lines_are_written_in_order_before_the_end(pipe):
    reading, writing = pipe
    handler = LineHandler(writing, "utf-8")
    for number in range(100):
        handler.handle(record(f"line {number}"))
    handler.close()
    os.close(writing)

    assert [f"line {n}" for n in range(100)] == read_all(reading).splitlines()


def test_a_reader_that_stalls_stops_no_caller_and_learns_what_it_missed(pipe):
    reading, writing = pipe
    handler = LineHandler(writing, "utf-8", max_waiting=10)
    for number in range(2000):
        handler.handle(record(f"{number} " + "x" * 1000))  # a pipe holds some 64 of them
    found = []
    reader = threading.Thread(target=lambda: found.append(read_all(reading)))
    reader.start()
    handler.close()
    os.close(writing)
    reader.join()
    lines = found[0].splitlines()
    reports = [
        int(line.split()[0]) for line in lines if line.endswith("nobody read standard error")
    ]
    kept = [int(line.split()[0]) for line in lines if line.endswith("x")]

    assert reports
    assert sorted(kept) == kept
    assert 2000 == len(kept) + sum(reports)


def test_without_a_reader_lines_are_lost_and_nothing_fails(pipe):
    reading, writing = pipe
    os.close(reading)
    handler = LineHandler(writing, "utf-8")
    for _ in range(3):
        handler.handle(record("line"))
    handler.close()

    assert not handler._thread.is_alive()


def test_a_narrow_encoding_loses_no_line(pipe):
    reading, writing = pipe
    handler = LineHandler(writing, "ascii")
    handler.handle(record("naïve"))
    handler.close()
    os.close(writing)

    assert "na\\xefve\n" == read_all(reading)
