"""The one-time link: its code gives a token once."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from service.api.access.one_time_login import OneTimeLogin
from tests.support.fakes import TOKENS

CODE = "a-code-of-the-tests"


async def log_in(service, code):
    headers = {} if code is None else {"Authorization": f"Bearer {code}"}
    return await service.client.post("/console/login", headers=headers)


@pytest.fixture
def linked(service):
    """The service with a login code."""
    service.app.state.services.authenticator._one_time = OneTimeLogin(SecretStr(CODE))
    return service


async def test_the_code_gives_a_token_that_may_approve(linked):
    answer = await log_in(linked, CODE)
    body = answer.json()
    assert (200, "approver", "no-store") == (
        answer.status_code,
        body["role"],
        answer.headers["cache-control"],
    )
    assert body["token"] not in {CODE, *TOKENS.values()}
    headers = {"Authorization": f"Bearer {body['token']}"}
    status = await linked.client.get("/admin/v1/rollout", headers=headers)
    assert (200, "approver") == (status.status_code, status.headers["x-role"])


async def test_the_code_works_once(linked):
    assert 200 == (await log_in(linked, CODE)).status_code
    answer = await log_in(linked, CODE)
    assert (401, "unauthorized") == (answer.status_code, answer.json()["code"])
    assert "has been used" in answer.json()["error"]
    assert CODE not in answer.text


@pytest.mark.parametrize("code", [None, "", "wrong", CODE + "x", TOKENS["approver"]])
async def test_a_wrong_code_gives_nothing_and_does_not_use_up_the_right_one(linked, code):
    answer = await log_in(linked, code)
    assert 401 == answer.status_code
    assert "token" not in answer.json()
    assert 200 == (await log_in(linked, CODE)).status_code


async def test_wrong_codes_count_as_failed_log_ins(linked):
    await log_in(linked, "wrong")
    assert 1.0 == await linked.metric(
        "nextvec_failed_logins_total", surface="admin", reason="unknown"
    )


async def test_the_code_itself_is_no_token(linked):
    headers = {"Authorization": f"Bearer {CODE}"}
    answer = await linked.client.get("/admin/v1/rollout", headers=headers)
    assert 401 == answer.status_code


@pytest.mark.parametrize("code", ["", "None", "null"])
async def test_without_a_configured_code_none_is_right(service, code):
    assert 401 == (await log_in(service, code)).status_code


async def test_the_audit_log_names_the_holder_of_the_link(linked):
    token = (await log_in(linked, CODE)).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    answer = await linked.client.post(
        "/admin/v1/rollout", json={"canary": "phase-3"}, headers=headers
    )
    assert 202 == answer.status_code, answer.text
    rows = (await linked.admin("GET", "/history")).json()
    assert "link" in {row["actor"] for row in rows}
