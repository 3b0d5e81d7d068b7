"""`/console/login`: exchange the code of a one-time link for a token."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request, Response

from service.api.services import LiveServices

router = APIRouter(prefix="/console", include_in_schema=False)


@router.post("/login")
async def login(request: Request, services: LiveServices) -> Response:
    """Return `{"token": "…", "role": "approver"}` for the code of `admin.login_code`.

    Send the code as a bearer token. It is right once after each start of the service; the token
    lasts until the service ends. The console does this for an address that ends in `#login=CODE`.
    """
    token, role = await services.authenticator.exchange(request)
    content = orjson.dumps({"token": token, "role": role.label})
    return Response(content, 200, {"Cache-Control": "no-store"}, media_type="application/json")
