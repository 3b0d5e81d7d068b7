"""Pages of other origins, and a service under a path prefix."""

from __future__ import annotations

ORIGIN = {"Origin": "https://console.example"}
PREFLIGHT = {
    **ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,if-match",
}


async def test_without_origins_no_page_of_another_origin_may_call(service):
    answer = await service.client.options("/v1/predict", headers=PREFLIGHT)
    assert "access-control-allow-origin" not in answer.headers
    answer = await service.client.get("/v2/health/ready", headers=ORIGIN)
    assert "access-control-allow-origin" not in answer.headers


async def test_a_listed_origin_may_call_and_read_the_headers(start):
    async with start(http={"cors_origins": [ORIGIN["Origin"]]}) as service:
        answer = await service.client.options("/admin/v1/rollout", headers=PREFLIGHT)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]
        assert "if-match" in answer.headers["access-control-allow-headers"].lower()
        answer = await service.client.get("/v2", headers=ORIGIN)
        assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]
        assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
        other = await service.client.options(
            "/v1/predict", headers={**PREFLIGHT, "Origin": "https://evil.example"}
        )
        assert "access-control-allow-origin" not in other.headers


async def test_a_prefix_is_part_of_the_page_and_of_the_paths(start):
    async with start(http={"root_path": "/nextvec"}) as service:
        for path in ("/v2/health/ready", "/nextvec/v2/health/ready"):
            assert (await service.client.get(path)).status_code == 200
        assert "/nextvec/openapi.json" in (await service.client.get("/docs")).text
        body = b" " * 100_000  # more than an admin body, less than a context
        answer = await service.client.post("/nextvec/v1/predict", content=body)
        assert answer.status_code == 400
