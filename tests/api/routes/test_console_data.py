"""What the console reads besides the status: links, plans, versions and past minutes."""

from __future__ import annotations

import pytest

from tests.support.fakes import TOKENS, evaluated, put_version


async def get(service, path, role="viewer"):
    headers = {"Authorization": f"Bearer {TOKENS[role]}"} if role else {}
    return await service.client.get(f"/admin/v1{path}", headers=headers)


@pytest.mark.parametrize("path", ["/console", "/versions", "/rollout/timeline"])
async def test_every_route_needs_a_token(service, path):
    assert 401 == (await get(service, path, role=None)).status_code
    assert 200 == (await get(service, path)).status_code


async def test_links_are_those_of_the_settings(start):
    console = {"name": "staging", "grafana_url": "http://grafana.example/d/nextvec?var-instance=a"}
    async with start(console=console) as service:
        answer = (await get(service, "/console")).json()
    assert "staging" == answer["name"]
    assert {"grafana": console["grafana_url"], "runbook": None} == answer["links"]


async def test_the_first_preset_is_the_services_plan(service):
    first = (await get(service, "/console")).json()["presets"][0]
    assert "default" == first["name"]
    assert 60 + 6 * 120 == first["least_seconds"]
    assert [True, *[False] * 5] == [step["shadow"] for step in first["steps"]]


async def test_versions_have_size_and_hit_at_5(service, models):
    put_version(models, "phase-4", window=8, evaluation=evaluated(0.41, 0.38, 0.44))
    rows = {row["version"]: row for row in (await get(service, "/versions")).json()}
    assert ["phase-2", "phase-3", "phase-4"] == list(rows)
    assert {
        "value": 0.41,
        "low": 0.38,
        "high": 0.44,
        "set": "eras",
        "pool": 1000,
    } == rows["phase-4"]["hit_at_5"]
    assert (len("phase-4"), False) == (rows["phase-4"]["bytes"], rows["phase-4"]["loaded"])
    assert (None, True) == (rows["phase-2"]["hit_at_5"], rows["phase-2"]["loaded"])


async def test_a_damaged_version_is_listed_with_its_problem(service, models):
    (put_version(models, "phase-5") / "manifest.json").write_text("{")
    row = (await get(service, "/versions")).json()[-1]
    assert "phase-5" == row["version"]
    assert "manifest.json" in row["problem"]


async def test_past_minutes_have_the_weight(service):
    await service.app.state.services.timeline.observe()
    answer = (await get(service, "/rollout/timeline")).json()
    assert 5.0 == answer["interval_seconds"]
    assert 0.0 == answer["points"][-1]["weight_percent"]
    assert [] == (await get(service, "/rollout/timeline?since=2000")).json()["points"]


@pytest.mark.parametrize("since", ["-1", "nan", "inf", "yesterday"])
async def test_a_time_that_is_none_is_refused(service, since):
    assert 422 == (await get(service, f"/rollout/timeline?since={since}")).status_code
