"""`nextvec simulate` from its arguments to its files."""

from __future__ import annotations

import json

import pytest

from service.cli import main

SMALL = ["--rollouts", "3", "--horizon", "400", "--processes", "1"]


def simulate(tmp_path, *arguments):
    return main(["simulate", *SMALL, "--out", str(tmp_path / "out"), *arguments])


@pytest.mark.slow
def test_it_writes_json_markdown_and_a_plot(tmp_path, capsys):
    arguments = ["--canary-ratio", "1", "--canary-ratio", "5", "--weight", "5", "--compare"]
    assert 0 == simulate(tmp_path, *arguments)
    out = tmp_path / "out"
    found = json.loads((out / "report.json").read_text())
    assert 6 == len(found["rows"])
    assert 3 == found["rows"][1]["rolled_back"]
    assert [5.0] == [step["weight"] for step in found["settings"]["plan"]["steps"]]
    assert "| nextvec | 5× | 100.0 (43.9–100.0) |" in (out / "report.md").read_text(
        encoding="utf-8"
    )
    assert b"\x89PNG" == (out / "rollouts.png").read_bytes()[:4]
    assert "(43.9–100.0)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["--canary-ratio", "1", "5", "--weight", "5", "25"], "report.json"),
        (["--quality", "--hit-ratio", "1"], "quality.json"),
    ],
)
def test_json_output_is_the_report(tmp_path, capsys, arguments, file):
    """Nothing else is printed to standard output."""
    assert 0 == simulate(tmp_path, *arguments, "--output", "json")
    report = json.loads((tmp_path / "out" / file).read_text(encoding="utf-8"))
    assert report == json.loads(capsys.readouterr().out)
    assert report["rows"]


def test_a_plan_and_a_latency_file_are_taken(tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text('{"steps": [{"weight": 30}], "alpha": 0.05}')
    latency = tmp_path / "report.json"
    latency.write_text(
        '{"rows": [{"variant": "stable", "count": 9, "p50": 0.01, "p95": 0.03}]}', "utf-8"
    )
    arguments = ["--plan", str(plan), "--latency", str(latency), "--canary-ratio", "1"]
    assert 0 == simulate(tmp_path, *arguments, "--alpha", "0.02")
    settings = json.loads((tmp_path / "out" / "report.json").read_text())["settings"]
    assert (0.02, "30 % as planned, approvals at once") == (settings["alpha"], settings["weights"])
    assert settings["latency"].startswith("lognormal, median 10 ms")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--weight", "10", "5"], "steps.1.weight: must exceed the previous weight, 10"),
        (["--weight", "100"], "below 100"),
        (["--weight", "5", "--plan", "x.json"], "exclude each other"),
        (["--latency", "nowhere"], "report.json, or a copy of /metrics"),
        (["--alpha", "0.9"], "alpha"),
        (["--interval", "300"], "shorter than two evaluations"),
    ],
)
def test_invalid_input_is_refused(tmp_path, arguments, expected):
    with pytest.raises(SystemExit, match=expected):
        simulate(tmp_path, *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--rate", "0"], ["--error-rate", "2"], ["--drift", "0.5"], ["--sigma", "nan"]],
)
def test_a_figure_out_of_range_is_refused_at_once(tmp_path, capsys, arguments):
    assert 2 == simulate(tmp_path, *arguments)
    assert arguments[0] in capsys.readouterr().err
