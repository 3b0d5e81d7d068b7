"""`/console`: its files, and the protection against injected code."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from service.api.console import FILES, PAGE
from tests.support.console_states import looks_good
from tests.support.console_status import PLAN

FOLDER = Path(str(files("service.api.console")))


async def test_the_page_is_public_and_contains_no_data(service):
    """The page asks for the token and reads all figures from the admin API."""
    answer = await service.client.get("/console")
    assert (200, "text/html; charset=utf-8") == (
        answer.status_code,
        answer.headers["content-type"],
    )
    assert answer.text.startswith("<!doctype html>")
    assert "phase-3" not in answer.text


@pytest.mark.parametrize("path", ["/console", *(f"/console/{name}" for name in FILES)])
async def test_nothing_from_elsewhere_and_nothing_inline_may_run(service, path):
    """The policy names no host, allows no inline code, and refuses text parsed as HTML."""
    headers = (await service.client.get(path)).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert "'none'" == policy["default-src"]
    assert ("'self'", "'self'", "'self'") == (
        policy["script-src"],
        policy["style-src"],
        policy["connect-src"],
    )
    assert ("'none'", "'none'", "'none'") == (
        policy["frame-ancestors"],
        policy["base-uri"],
        policy["form-action"],
    )
    assert "'script'" == policy["require-trusted-types-for"]
    assert ("nosniff", "DENY", "no-referrer") == (
        headers["x-content-type-options"],
        headers["x-frame-options"],
        headers["referrer-policy"],
    )


def test_the_page_follows_no_redirect():
    """A redirected POST would arrive as a GET, and its answer would look like a success."""
    requests = [
        text.partition("});")[0]
        for name in FILES
        for text in (FOLDER / name).read_text().split("fetch(")[1:]
    ]
    assert 1 == len(requests)
    assert 'redirect: "manual"' in requests[0]


@pytest.mark.parametrize("name", sorted(FILES))
async def test_every_file_of_the_page_is_served_with_its_type(service, name):
    answer = await service.client.get(f"/console/{name}")
    assert (200, FILES[name]) == (answer.status_code, answer.headers["content-type"])
    assert (FOLDER / name).read_bytes() == answer.content


@pytest.mark.parametrize("name", ["__init__.py", "page.htm", "..%2f__init__.py", "%2e%2e/app.py"])
async def test_nothing_else_is_served(service, name):
    answer = await service.client.get(f"/console/{name}")
    assert (404, "not_found") == (answer.status_code, answer.json()["code"])


def test_the_page_loads_exactly_the_listed_files():
    """Every named script and style sheet is served, and every served file is named."""
    text = {name: (FOLDER / name).read_text() for name in (*FILES, PAGE)}
    named = set(re.findall(r'(?:href|src)="console/([^"]+)"', text[PAGE]))
    for content in text.values():
        named |= set(re.findall(r'from "\./([^"]+)"', content))
    assert set(FILES) == named
    assert set(FILES) | {PAGE} == {
        path.name for path in FOLDER.iterdir() if path.is_file() and path.suffix != ".py"
    }


@pytest.mark.parametrize("name", [PAGE, *FILES])
def test_text_is_never_parsed_as_html_and_no_other_host_is_named(name):
    """Version names and reasons are untrusted; the only namespace named is SVG's."""
    content = (FOLDER / name).read_text()
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in content
    hosts = set(re.findall(r"https?://[^\s\"'`/]+", content))
    assert hosts <= {"http://www.w3.org"}
    assert "style=" not in content
    assert not re.search(r"\son[a-z]+=", content)


async def test_the_status_contains_the_callers_role(service):
    """The page needs it to enable actions."""
    for role in ("viewer", "operator", "approver"):
        answer = await service.admin("GET", role=role)
        assert role == answer.headers["x-role"]


async def test_the_states_of_the_browser_tests_have_the_form_of_the_status(service):
    """Otherwise the browser tests would test a status that does not exist."""
    plan = {**PLAN.model_dump(mode="json"), "warm_up_seconds": 0, "warm_up_requests": 0}
    await service.admin("POST", json={"canary": "phase-3", "plan": plan})
    await service.controller.prepared()
    for _ in range(2):
        service.clock.advance(15)
        await service.controller.tick()
    real, made = (await service.admin("GET")).json(), looks_good(0.0)
    assert real.keys() == made.keys()
    assert real["next"].keys() == made["next"].keys()
    assert real["next"]["conditions"][0].keys() - {"label", "expected_at"} == (
        made["next"]["conditions"][0].keys()
    )
    for own in real["guardrails"]:
        assert set.intersection(*map(set, made["guardrails"])) <= own.keys()
