"""The last line of `nextvec fuzz`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from loadtest.commands.fuzz import last_line
from loadtest.fuzz.run import FuzzRun
from loadtest.fuzz.schema import SchemaFuzzResult
from loadtest.process_stats import ProcessStats


def test_a_line_during_the_run_leaves_out_what_is_not_known_yet():
    line = last_line(FuzzRun(Counter(bytes=3, tensors=2), Counter({200: 4, 422: 1})), None, [])
    assert line.startswith("fuzz: 3 mutated requests, 2 odd tensors; 4 2xx, 1 4xx, ")
    assert line.endswith("0 deaths, 0 problems")


def test_the_last_line_has_the_schema_and_the_memory():
    before, after = (ProcessStats(rss=n * 2**20, descriptors=1, threads=1) for n in (10, 13))
    line = last_line(
        FuzzRun(before=before, after=after), SchemaFuzzResult(7, 1, Path("reports")), ["x"]
    )
    assert "odd tensors, schema 7 cases, 1 failed; " in line
    assert line.endswith("0 deaths, memory +3 MB, 1 problems")
