"""`/console`: the rollout for a person at a browser. Self-contained: no build, no CDN, no fonts.

The page is public and says nothing; all it shows comes from the admin API, with
the token that the person types in. What is served here never changes while the
service runs.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Response

from service.api.schemas import ERRORS
from service.errors import NotFound

router = APIRouter(prefix="/console", tags=["console"], responses=ERRORS, include_in_schema=False)

PAGE = "page.html"
FILES = {
    "console.css": "text/css; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "charts.js": "text/javascript; charset=utf-8",
    "dialog.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "history.js": "text/javascript; charset=utf-8",
    "main.js": "text/javascript; charset=utf-8",
    "view.js": "text/javascript; charset=utf-8",
}
"""What the page loads, by name; nothing else can be asked for."""

HEADERS = {
    # Scripts and styles from here alone, none inline; nothing may be sent elsewhere, and
    # no page may frame this one to have its buttons clicked. The last directive makes
    # the browser refuse text that would be parsed as HTML: names and reasons are untrusted.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Change for anew each time: after an upgrade nobody works with half an old page.
    "Cache-Control": "no-cache",
}


@router.get("")
async def page() -> Response:
    """The page itself."""
    return Response(_content(PAGE), media_type="text/html; charset=utf-8", headers=HEADERS)


@router.get("/{name}")
async def file(name: str) -> Response:
    """A script or the style sheet."""
    if name not in FILES:
        raise NotFound(f"the console has no file {name!r}; its page is at /console")
    return Response(_content(name), media_type=FILES[name], headers=HEADERS)


@cache
def _content(name: str) -> bytes:
    return files(__name__).joinpath(name).read_bytes()
