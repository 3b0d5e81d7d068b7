"""What connections and prediction routes use, whichever process they run in.

In one process this is a part of `Services`. A process of its own for HTTP has no sessions and no
engine: its `predictor` sends the requests to the process that has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.api.access.api_keys import KeyRing, LimitedCaller
from service.api.body_limits import BodyBudget
from service.api.connection_limit import ConnectionLimit, largest_number_of_connections
from service.api.in_flight import InFlightLimit
from service.api.parsing import ParsingThread
from service.api.start_queue import StartQueue
from service.contexts.session_store import SessionStart
from service.errors import NextvecError, NotReady
from service.observability.access_log import AccessLog
from service.observability.tracing import TraceRecorder
from service.prediction.request import Prediction, RequestOptions, SessionAppend
from service.settings import Settings
from service.types import Vectors


class Predictor(Protocol):
    """Runs predictions. `Dispatch` documents the methods and what they raise."""

    async def predict(self, context: Vectors, options: RequestOptions) -> Prediction: ...

    async def predict_batch(
        self, contexts: Sequence[Vectors], options: RequestOptions
    ) -> list[Prediction]: ...

    async def append(
        self,
        session_id: str,
        vectors: Vectors,
        options: RequestOptions,
        *,
        position: int | None = None,
        begin: SessionStart = SessionStart.IF_UNKNOWN,
        end: bool = False,
    ) -> Prediction: ...

    async def append_each(
        self, appends: Sequence[SessionAppend], options: RequestOptions
    ) -> list[Prediction | NextvecError]: ...


def _ignore() -> None:
    """Do nothing."""


@dataclass(kw_only=True)
class Edge:
    """The parts of one process that answers HTTP.

    `accepting` is false before warm-up and at the end of a drain, `draining` is true from the
    signal to stop. `share` is the number of processes among which the bounds of connections,
    of bodies and of predictions in progress are divided. `versions()` returns how many versions
    are loaded, `on_refusal` counts a request that was refused unread, and
    `close_subscriptions` ends event streams.
    """

    settings: Settings
    predictor: Predictor
    keys: KeyRing[LimitedCaller]
    bodies: BodyBudget
    access_log: AccessLog
    tracing: TraceRecorder
    versions: Callable[[], int]
    check_version: Callable[[str], object]
    on_refusal: Callable[[], None]
    close_subscriptions: Callable[[], None] = _ignore
    share: int = 1
    dim: int = 0
    accepting: bool = field(default=False)
    draining: bool = field(default=False)
    connections: ConnectionLimit = field(init=False)
    in_flight: InFlightLimit = field(init=False)
    starts: StartQueue = field(default_factory=StartQueue)
    parsing: ParsingThread = field(default_factory=ParsingThread)

    def __post_init__(self) -> None:
        wanted = -(-self.settings.http.max_connections // self.share)
        self.connections = ConnectionLimit(largest_number_of_connections(wanted))
        self.in_flight = InFlightLimit(self.settings.engine, self.versions, self.share)

    @property
    def ready(self) -> bool:
        """Whether a load balancer should send requests."""
        return self.accepting and not self.draining

    def check_accepting(self) -> None:
        """Raise `NotReady` before warm-up and while draining."""
        if not self.accepting:
            raise NotReady("the service is starting up or draining: wait for /v2/health/ready")
