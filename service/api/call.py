"""A prediction asked for and answered over HTTP, apart from how the bytes travel.

Two ways lead here: the framework's, with its middleware (`over_asgi`), and the
server's own lane for requests that come whole (`lane.py`). What a request means
and what its answer says is decided once, in the routes' functions from `Call` to
`Reply`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request, Response

from service.api import body
from service.api.services import Services, accepting
from service.prediction.request import Prediction


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked. `headers` by name in lower case, the first of each; `query` as sent."""

    services: Services
    request_id: str
    headers: Mapping[str, str]
    query: str
    content: bytes

    def parameter(self, name: str) -> str | None:
        """The last of that name in the query."""
        only, _, value = self.query.partition("=")
        if not self.query or (only == name and value.isalnum()):
            return value or None
        return dict(parse_qsl(self.query, keep_blank_values=True)).get(name)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered with status 200; `answer` is for the headers all answers carry."""

    content: bytes
    media_type: str
    answer: Prediction
    headers: Mapping[str, str] | None = None


Work = Callable[[Call], Coroutine[Any, Any, Reply]]
"""A route: from a call to its reply. Raises `NextvecError`."""


async def over_asgi(request: Request, work: Work) -> Response:
    """Answer a request of the framework's with `work`, dropped when its caller goes."""
    services = accepting(request)
    content = await body.read(request)
    state = request.scope["state"]
    call = Call(services, state["request_id"], request.headers, request.url.query, content)
    reply = await body.unless_gone(request, work(call))
    note(state, reply.answer)
    return Response(reply.content, 200, reply.headers, media_type=reply.media_type)


def note(state: dict[str, object], answer: Prediction) -> None:
    """What the answer's headers say: who answered, and where the time went."""
    state["variant"], state["version"] = answer.route.variant, answer.route.version
    state["queue"], state["inference"] = answer.queue_seconds, answer.inference_seconds
