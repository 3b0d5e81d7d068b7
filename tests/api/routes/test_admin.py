"""`/admin/v1/rollout`: roles, legal actions and expected generations."""

from __future__ import annotations

import pytest

from service.errors import Invalid
from service.settings import AdminSettings
from tests.support.fakes import TOKENS, unit_vectors

READS = [("GET", ""), ("GET", "/history")]
OPERATOR = [("POST", ""), ("POST", "/pause"), ("POST", "/abort"), ("POST", "/retry")]
APPROVER = [("POST", "/promote"), ("POST", "/resume"), ("POST", "/undo")]
EVENTS = ("GET", "/events")


def start_body(path):
    return {"json": {"canary": "phase-3"}} if path == "" else {}


@pytest.mark.parametrize(("method", "path"), [*READS, EVENTS, *OPERATOR, *APPROVER])
@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer nobody", "Basic dmlld2Vy", b"Bearer \xa0"],
)
async def test_an_unknown_token_is_refused(service, method, path, authorization):
    """401, which names the scheme. The state does not change."""
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = await service.client.request(
        method, f"/admin/v1/rollout{path}", headers=headers, **start_body(path)
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert service.controller.generation == 0


@pytest.mark.parametrize(
    ("role", "method", "path"),
    [
        *(("viewer", *route) for route in [*OPERATOR, *APPROVER]),
        *(("operator", *route) for route in APPROVER),
    ],
)
async def test_a_role_that_is_too_low_is_forbidden(service, role, method, path):
    """403. The state does not change."""
    answer = await service.admin(method, path, role=role, **start_body(path))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert service.controller.generation == 0


@pytest.mark.parametrize("token", ["", " ", "\t"])
def test_a_blank_token_is_refused_at_start(token):
    """A template may pass on an unset variable; it must not enable the role."""
    with pytest.raises(ValueError, match="blank"):
        AdminSettings(approver_token=token)


@pytest.mark.parametrize("number", ["9" * 30, "1e300", "-" + "9" * 30, "1e999", "9" * 5000])
@pytest.mark.parametrize(
    "plan",
    [
        '{"warm_up_requests": %s}',
        '{"baseline_samples": %s}',
        '{"deadline_seconds": %s}',
        '{"pause_deadline_seconds": %s}',
        '{"settle_seconds": %s}',
        '{"steps": [{"weight": 5, "min_samples": %s}]}',
        '{"steps": [{"weight": 5, "min_dwell_seconds": %s}]}',
        '{"guardrails": {"quality": {"enough_keys": %s}}}',
        '{"gate": {"min_pool": %s}}',
        '{"gate": {"max_step_p95_ms": %s}}',
    ],
)
async def test_a_number_without_bounds_is_refused_and_nothing_begins(service, plan, number):
    content = '{"canary": "phase-3", "plan": %s}' % (plan % number)
    headers = {"Content-Type": "application/json"}
    answer = await service.admin("POST", content=content, headers=headers)
    assert answer.status_code in {400, 422}, answer.text
    assert len(answer.content) < 2000
    status = await service.admin("GET")
    assert (status.status_code, status.json()["phase"]) == (200, "Healthy")
    assert service.controller.generation == 0


async def test_a_rollout_is_started_watched_and_aborted(service):
    """Each change has its own generation, which is the ETag."""
    begun = await service.admin("POST", json={"canary": "phase-3", "reason": "longer"})
    assert begun.status_code == 202
    assert begun.headers["etag"] == f'"{begun.json()["generation"]}"'
    await service.controller.prepared()
    seen = await service.admin("GET", role="viewer")
    assert seen.json()["phase"] == "WarmingUp"
    assert seen.json()["weight"]["set_percent"] == 0
    assert seen.json()["plan"]["steps"][0]["shadow"]
    assert (await service.admin("POST", "/abort", role="operator")).status_code == 200
    after = (await service.admin("GET")).json()
    assert (after["phase"], after["weight"]["set_percent"]) == ("RolledBack", 0)
    history = (await service.admin("GET", "/history")).json()
    assert [row["to"] for row in history] == ["RolledBack", "Aborting", "WarmingUp", "Pending"]
    assert (history[-1]["actor"], history[-1]["note"]) == ("approver", "longer")


@pytest.mark.parametrize("path", ["/pause", "/promote", "/resume", "/retry", "/undo"])
@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"If-Match": '"0"'}, 412, "precondition_failed"),
        ({"If-Match": '"99"'}, 412, "precondition_failed"),
        ({"If-Match": "now"}, 422, "invalid"),
    ],
)
async def test_a_change_wants_the_generation_that_was_seen(service, path, headers, status, code):
    await service.admin("POST", json={"canary": "phase-3"})
    await service.controller.prepared()
    before = service.controller.generation
    answer = await service.admin("POST", path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert before == service.controller.generation


@pytest.mark.parametrize("path", ["/pause", "/promote", "/resume", "/retry", "/undo"])
async def test_a_change_without_a_generation_is_refused(service, path):
    answer = await service.client.post(
        f"/admin/v1/rollout{path}", headers={"Authorization": f"Bearer {TOKENS['approver']}"}
    )
    assert (answer.status_code, answer.json()["code"]) == (428, "precondition_required")


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"If-Match": "*"}},
        {"headers": {"If-Match": '"99"'}},
        {"content": b"{"},
        {"json": {"unknown": 1}},
        {"content": b"\xff"},
        {"content": bytes(17 << 20)},
        {"content": bytes(17 << 20), "headers": {"Idempotency-Key": "once"}},
    ],
)
async def test_nothing_in_the_request_can_prevent_an_abort(service, options):
    """An abort overrides everything else."""
    await service.admin("POST", json={"canary": "phase-3"})
    await service.controller.prepared()
    answer = await service.admin("POST", "/abort", **options)
    assert (answer.status_code, answer.json()["phase"]) == (200, "RolledBack")


@pytest.mark.parametrize("path", ["/abort", "/pause", "/promote", "/resume", "/retry", "/undo"])
async def test_an_illegal_verb_lists_the_legal_ones(service, path):
    answer = await service.admin("POST", path)
    assert answer.status_code == 409
    assert (answer.json()["legal"], answer.json()["phase"]) == (["start"], "Healthy")


async def test_a_promotion_before_the_guardrails_pass_is_refused_unless_forced(service):
    """The audit log records a forced one."""
    plan = {"steps": [{"weight": 50, "approval": True}]}
    await service.admin("POST", json={"canary": "phase-3", "plan": plan})
    await service.controller.prepared()
    await service.admin("POST", "/pause")
    refused = await service.admin("POST", "/promote")
    assert (refused.status_code, refused.json()["code"]) == (409, "guardrails_not_passed")
    forced = await service.admin("POST", "/promote?force=true")
    assert (forced.status_code, forced.json()["stable"]) == (200, "phase-3")
    reasons = [row["reason"] for row in (await service.admin("GET", "/history")).json()]
    assert "forced" in reasons
    answer = await service.client.post("/v1/predict", json={"context": unit_vectors(2).tolist()})
    assert (answer.headers["x-variant"], answer.headers["x-model-version"]) == ("stable", "phase-3")
    undone = await service.admin("POST", "/undo")
    assert undone.status_code == 200
    await service.controller.prepared()
    assert (await service.admin("GET")).json()["stable"] == "phase-2"


@pytest.mark.parametrize(
    ("body", "status", "place"),
    [
        ({"canary": "phase-2"}, 422, "canary: phase-2 is the stable version"),
        ({"canary": "phase-9"}, 404, "phase-9"),
        ({"canary": "../phase-3"}, 422, "canary"),
        ({"canary": "é"}, 422, "canary"),
        ({}, 422, "canary"),
        ({"canary": "phase-3", "weight": 5}, 422, "weight"),
        ({"canary": "phase-3", "plan": {"alpha": 2}}, 422, "plan.alpha"),
        ({"canary": "phase-3", "plan": {"alpha": 0}}, 422, "plan.alpha"),
        ({"canary": "phase-3", "plan": {"steps": []}}, 422, "plan.steps"),
        ({"canary": "phase-3", "plan": {"guardrails": {"vibes": {}}}}, 422, "plan.guardrails"),
        (
            {
                "canary": "phase-3",
                "plan": {
                    "steps": [
                        {"weight": 5},
                        {"weight": 100, "min_dwell_seconds": 0, "approval": True},
                    ]
                },
            },
            422,
            "plan.steps.1.min_dwell_seconds",
        ),
        (
            {"canary": "phase-3", "plan": {"steps": [{"weight": 9}, {"weight": 3}]}},
            422,
            "plan.steps.1.weight",
        ),
    ],
)
async def test_an_invalid_start_is_refused_by_field(service, body, status, place):
    """Nothing is started."""
    answer = await service.admin("POST", json=body)
    assert answer.status_code == status
    assert place in answer.json()["error"]
    assert service.controller.generation == 0
    assert (await service.admin("GET", "/history")).json() == []


async def test_a_start_that_is_no_json_is_malformed(service):
    answer = await service.admin("POST", content=b"{", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


async def test_a_plan_in_a_file_is_refused_at_start_with_its_field(start, tmp_path):
    """Before the service answers requests."""
    (tmp_path / "plan.yaml").write_text("alpha: 2")
    with pytest.raises(Invalid, match=r"plan\.yaml: alpha"):
        async with start(
            rollout={"database": tmp_path / "other.db", "plan": tmp_path / "plan.yaml"}
        ):
            pass


async def test_a_start_without_a_plan_takes_the_files(start, tmp_path):
    (tmp_path / "plan.yaml").write_text("steps: [{weight: 7}]")
    async with start(
        rollout={"database": tmp_path / "other.db", "plan": tmp_path / "plan.yaml"}
    ) as service:
        begun = await service.admin("POST", json={"canary": "phase-3"})
        assert [step["weight"] for step in begun.json()["plan"]["steps"]] == [7]


async def test_a_lone_surrogate_is_refused_as_an_error(service):
    """Quoting it must not break the error response."""
    answer = await service.admin(
        "POST",
        content=b'{"canary": "\\ud800"}',
        headers={"Content-Type": "application/json"},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
