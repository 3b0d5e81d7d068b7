"""Dry runs, idempotency keys and retries, over HTTP."""

from __future__ import annotations

import pytest

KEY = {"Idempotency-Key": "4f2c"}
DRY = {"dryRun": "All"}


async def begin(service, **body):
    await service.admin("POST", json={"canary": "phase-3", **body})
    await service.controller.prepared()


async def everything(service):
    """All state that an action could change."""
    seen = (await service.admin("GET")).json()
    return seen, (await service.admin("GET", "/history")).json()


# --- dry runs ---


async def test_a_dry_run_of_a_start_says_what_would_come_of_it(service):
    before = await everything(service)
    body = {"canary": "phase-3", "reason": "why not"}
    answer = await service.admin("POST", json=body, params=DRY)
    assert answer.status_code == 200
    assert "etag" not in answer.headers
    preview = answer.json()
    assert (preview["dry_run"], preview["phase"], preview["canary"]) == (True, "Pending", "phase-3")
    (move,) = preview["transitions"]
    assert (move["from"], move["to"], move["note"]) == ("Healthy", "Pending", "why not")
    assert before == await everything(service)


@pytest.mark.parametrize(
    ("verb", "query", "targets"),
    [
        ("abort", {}, ["Aborting", "RolledBack"]),
        ("resume", {}, ["WarmingUp"]),
        ("promote", {"force": "true"}, ["Promoting", "Healthy"]),
    ],
)
async def test_a_dry_run_shows_the_result_of_the_action(service, verb, query, targets):
    """The action itself then has that result."""
    await begin(service, plan={"steps": [{"weight": 50}]})
    await service.admin("POST", "/pause")
    before = await everything(service)
    preview = (await service.admin("POST", f"/{verb}", params={**query, **DRY})).json()
    assert [move["to"] for move in preview["transitions"]] == targets
    assert before == await everything(service)
    done = (await service.admin("POST", f"/{verb}", params=query)).json()
    assert done["phase"] == preview["phase"] == targets[-1]
    assert (done["generation"], done["weight"]) == (preview["generation"], preview["weight"])


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        ("", {"json": {"canary": "phase-2"}}, 422),
        ("", {"json": {"canary": "phase-9"}}, 404),
        ("", {"json": {"canary": "phase-3", "plan": {"alpha": 2}}}, 422),
        ("", {"json": {"canary": "phase-3"}, "headers": {"If-Match": '"7"'}}, 412),
        ("/undo", {"headers": {"If-Match": '"7"'}}, 412),
        ("/undo", {}, 409),
        ("/abort", {}, 409),
        ("/retry", {}, 409),
    ],
)
async def test_a_dry_run_is_refused_as_the_verb_would_be(service, path, options, status):
    answer = await service.admin("POST", path, params=DRY, **options)
    assert answer.status_code == status
    real = await service.admin("POST", path, **options)
    assert (real.status_code, real.json()["code"]) == (status, answer.json()["code"])


@pytest.mark.parametrize("path", ["", "/abort", "/pause"])
async def test_a_dry_run_that_is_not_meant_so_is_refused(service, path):
    """`true` must neither act nor seem to have been tried."""
    await begin(service)
    before = await everything(service)
    body = {"json": {"canary": "phase-3"}} if path == "" else {}
    answer = await service.admin("POST", path, params={"dryRun": "true"}, **body)
    assert answer.status_code == 422
    assert "dryRun" in answer.json()["error"]
    assert before == await everything(service)


async def test_a_dry_run_needs_the_role_of_its_verb(service):
    answer = await service.admin("POST", "/promote", role="operator", params=DRY)
    assert answer.status_code == 403


# --- idempotency keys ---


async def test_a_repeated_start_returns_the_stored_response(service):
    """Byte for byte. Only one rollout starts."""
    body = {"canary": "phase-3"}
    first = await service.admin("POST", json=body, headers=KEY)
    await service.controller.prepared()
    generation = service.controller.generation
    again = await service.admin("POST", json=body, headers=KEY)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert first.headers["etag"] == again.headers["etag"]
    assert generation == service.controller.generation
    assert (await service.admin("GET")).json()["phase"] == "WarmingUp"


async def test_a_verb_sent_again_is_answered_again_though_the_generation_has_passed(service):
    await begin(service)
    headers = {**KEY, "If-Match": f'"{service.controller.generation}"'}
    first = await service.admin("POST", "/pause", headers=headers)
    assert first.status_code == 200
    again = await service.admin("POST", "/pause", headers=headers)
    assert (first.status_code, first.content) == (again.status_code, again.content)


async def test_a_key_outlives_the_process(start):
    body = {"canary": "phase-3"}
    async with start() as service:
        first = await service.admin("POST", json=body, headers=KEY)
        await service.admin("POST", "/abort")
    async with start() as service:
        again = await service.admin("POST", json=body, headers=KEY)
        assert (first.status_code, first.content) == (again.status_code, again.content)
        assert (await service.admin("GET")).json()["phase"] == "RolledBack"


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("", {"json": {"canary": "phase-3", "reason": "another"}}),
        ("", {"json": {"canary": "phase-9"}}),
        ("/pause", {}),
    ],
)
async def test_a_key_used_for_another_request_is_refused(service, path, options):
    await service.admin("POST", json={"canary": "phase-3"}, headers=KEY)
    await service.controller.prepared()
    before = await everything(service)
    answer = await service.admin("POST", path, headers=KEY, **options)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert before == await everything(service)


async def test_keys_of_two_roles_do_not_meet(service):
    await service.admin("POST", json={"canary": "phase-3"}, headers=KEY)
    await service.controller.prepared()
    answer = await service.admin("POST", "/pause", role="operator", headers=KEY)
    assert (answer.status_code, answer.json()["phase"]) == (200, "Paused")


async def test_a_refusal_is_not_stored(service):
    """Nothing has changed, so the same request may succeed later."""
    answer = await service.admin("POST", "/pause", headers=KEY)
    assert answer.status_code == 409
    await begin(service)
    answer = await service.admin("POST", "/pause", headers=KEY)
    assert (answer.status_code, answer.json()["phase"]) == (200, "Paused")


async def test_a_dry_run_does_not_use_a_key_up(service):
    body = {"canary": "phase-3"}
    await service.admin("POST", json=body, headers=KEY, params=DRY)
    answer = await service.admin("POST", json=body, headers=KEY)
    assert answer.status_code == 202
    assert "dry_run" not in answer.json()


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "é"])
async def test_a_key_that_is_none_is_refused(service, key):
    headers = {"Idempotency-Key": key.encode()}
    answer = await service.admin("POST", json={"canary": "phase-3"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert service.controller.generation == 0


async def test_an_abort_sent_again_is_answered_again(service):
    await begin(service)
    first = await service.admin("POST", "/abort", headers=KEY)
    assert first.json()["phase"] == "RolledBack"
    again = await service.admin("POST", "/abort", headers=KEY)
    assert (first.status_code, first.content) == (again.status_code, again.content)


@pytest.mark.parametrize("key", ["4f2c", "two words", "used"])
async def test_no_key_prevents_an_abort(service, key):
    """Neither the key of an earlier abort, nor an invalid one, nor that of another action."""
    await begin(service)
    await service.admin("POST", "/abort", headers=KEY)
    headers = {"Idempotency-Key": "used"}
    await service.admin("POST", json={"canary": "phase-3"}, headers=headers)
    await service.controller.prepared()
    answer = await service.admin("POST", "/abort", headers={"Idempotency-Key": key})
    assert answer.json()["phase"] == "RolledBack"
    assert (await service.admin("GET")).json()["phase"] == "RolledBack"


# --- retry ---


async def test_a_retry_starts_the_same_canary_and_plan(service):
    """The count of attempts increases."""
    plan = {"steps": [{"weight": 7, "approval": True}]}
    await begin(service, plan=plan)
    assert (await service.admin("GET")).json()["attempt"] == 1
    await service.admin("POST", "/abort")
    again = await service.admin("POST", "/retry", role="operator", json={"reason": "mended"})
    assert again.status_code == 202
    preview = again.json()
    assert (preview["phase"], preview["canary"], preview["attempt"]) == ("Pending", "phase-3", 2)
    assert [step["weight"] for step in preview["plan"]["steps"]] == [7]
    await service.controller.prepared()
    rows = (await service.admin("GET", "/history")).json()
    assert [row["reason"] for row in rows[:2]] == ["prepared", "retry"]
    assert rows[1]["note"] == "mended"


@pytest.mark.parametrize(
    ("headers", "status"), [({"If-Match": '"0"'}, 412), ({"If-Match": "now"}, 422)]
)
async def test_a_retry_wants_the_generation_that_was_seen(service, headers, status):
    await begin(service)
    await service.admin("POST", "/abort")
    assert (await service.admin("POST", "/retry", headers=headers)).status_code == status


async def test_a_retry_of_a_version_that_is_gone_is_refused(service, models):
    await begin(service)
    await service.admin("POST", "/abort")
    (models / "next-vector" / "phase-3").rename(models / "gone")
    answer = await service.admin("POST", "/retry")
    assert answer.status_code == 404
    assert (await service.admin("GET")).json()["phase"] == "RolledBack"
