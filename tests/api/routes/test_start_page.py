"""`GET /`: a page for browsers, JSON for others, and every address leads somewhere."""

from __future__ import annotations

import re

import pytest

from service.api.routes.start_page import PLACES

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


async def test_programs_get_json(service):
    answer = await service.client.get("/")
    assert (200, "application/json") == (answer.status_code, answer.headers["content-type"])
    assert "/console" == answer.json()["paths"]["console"]
    assert PLACES.keys() == answer.json()["paths"].keys()


async def test_browsers_get_a_page_under_the_consoles_policy(service):
    answer = await service.client.get("/", headers={"Accept": BROWSER})
    assert "text/html; charset=utf-8" == answer.headers["content-type"]
    assert 'href="/console"' in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text
    assert "Accept" == answer.headers["vary"]


async def test_another_media_type_is_refused(service):
    answer = await service.client.get("/", headers={"Accept": "image/png"})
    assert (406, "not_acceptable") == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("accept", ["*/*", BROWSER])
async def test_no_address_is_unknown(service, accept):
    """A GET of a prediction is 405 and of the rollout 401; nothing is 404."""
    answer = await service.client.get("/", headers={"Accept": accept})
    if "json" in answer.headers["content-type"]:
        paths = answer.json()["paths"].values()
    else:
        paths = re.findall(r'href="(/[^"]+)"', answer.text)
    assert len(paths) > 4
    for path in paths:
        assert (await service.client.get(path)).status_code in {200, 401, 405}


async def test_addresses_have_the_proxys_prefix(start):
    async with start(http={"root_path": "/nextvec"}) as service:
        answer = await service.client.get("/nextvec/")
        assert "/nextvec/console" == answer.json()["paths"]["console"]
        page = await service.client.get("/nextvec/", headers={"Accept": "text/html"})
        assert 'href="/nextvec/console/console.css"' in page.text
