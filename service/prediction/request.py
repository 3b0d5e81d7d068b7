"""A prediction request and its result, independent of the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from service.contexts.session_quota import SessionQuota
from service.errors import Invalid
from service.rollout.routing.traffic_split import Route
from service.types import Variant, Vector, Vectors

MAX_KEY = 1024
"""Characters of a routing key: it is kept as long as its prediction waits to be scored."""


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What a caller may ask for besides the vectors. All of it is optional.

    `key` is the routing key. `override` asks for a variant and `version` for a loaded version;
    such requests are not evidence. `timeout_seconds` can only shorten the service's own
    timeout. `caller` identifies the caller to the prefix cache; None: nothing of this request
    is cached. `request_id` names the prediction for a label that may come. `owner` is whose
    session an append is for; None: everybody's. `waited_seconds` have passed since the request
    arrived; they count for its deadline.

    Raises `Invalid` for a key of more than `MAX_KEY` characters.
    """

    key: str | None = None
    override: Variant | None = None
    version: str | None = None
    timeout_seconds: float | None = None
    caller: bytes | None = None
    request_id: str | None = None
    owner: SessionQuota | None = None
    waited_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.key is not None and len(self.key) > MAX_KEY:
            raise Invalid(
                f"the routing key has {len(self.key)} characters; send at most {MAX_KEY}, "
                "for example its hash"
            )


class SessionAppend(NamedTuple):
    """One of several appends that are asked for together: `vectors` `[k, dim]` for a session.

    `position` is the session's length before it; None if the caller does not say.
    """

    session: str
    vectors: Vectors
    position: int | None


class Prediction(NamedTuple):
    """One prediction and who made it; durations in seconds.

    `length` is the session's length after the append; None for a whole context.
    """

    vector: Vector
    route: Route
    queue_seconds: float
    inference_seconds: float
    length: int | None = None
