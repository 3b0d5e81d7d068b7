"""The client with blocking calls. It carries out the operations; it decides nothing."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from nextvec import many_steps, predictions, transport
from nextvec.arrays import VectorsLike, as_rows, as_vector
from nextvec.blocking import BlockingRunner
from nextvec.connection_options import ConnectionOptions
from nextvec.predictions import RoutingOptions, SessionLink
from nextvec.results import PredictedVector, SessionInfo, StepResult
from nextvec.rollout_calls import RolloutCalls
from nextvec.windows import WindowTable


class Client:
    """A client of one nextvec service. Safe to share between threads; use it with `with`.

    Each call repeats its request after a lost connection, 429 and 5xx, within `deadline` seconds
    and `max_retries` repeats; `Retry-After` is honoured. Every call raises `nextvec.Error`, and
    `ValueError` for an argument that no service would take.
    """

    def __init__(  # noqa: PLR0913  each has its default
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        token: str | None = None,
        ca: str | Path | None = None,
        timeout: float = 30.0,
        deadline: float = 60.0,
        max_retries: int = 8,
        max_connections: int = 100,
        http_client: httpx.Client | None = None,
    ) -> None:
        """Arguments left out come from the environment.

        - `url`: address of the service (`NEXTVEC_URL`, else http://127.0.0.1:8080).
        - `api_key`: for predictions (`NEXTVEC_API_KEY`).
        - `token`: for rollouts (`NEXTVEC_TOKEN`); it is sent to the admin routes only.
        - `ca`: PEM file of the authorities to trust for https, instead of the usual ones.
        - `timeout`: seconds of one request. `deadline`: seconds of one call, with its repeats.
        - `max_retries`: repeats of one call.
        - `http_client`: a client of httpx of your own; close it yourself.

        Raises `ValueError`, and `OSError` for an unreadable `ca`.
        """
        options = ConnectionOptions.from_arguments(
            url, api_key, token, timeout=timeout, deadline=deadline, max_retries=max_retries
        )
        self._owns_http = http_client is None
        self._http = http_client or httpx.Client(**transport.http_options(ca, max_connections))
        self._run = BlockingRunner(options, self._http)
        self._windows = WindowTable()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._run.options.describe()})"

    def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            self._http.close()

    def with_options(
        self,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        max_retries: int | None = None,
    ) -> Self:
        """Return a client with other options that shares this one's connections."""
        options = self._run.options.changed(
            timeout=timeout, deadline=deadline, max_retries=max_retries
        )
        other = copy(self)
        vars(other).update(_run=BlockingRunner(options, self._http), _owns_http=False)
        return other

    @property
    def rollout(self) -> RolloutCalls:
        """The rollout of the service: start, watch and change it."""
        return RolloutCalls(self._run)

    def predict(
        self, context: VectorsLike, *, key: str | None = None, variant: str | None = None
    ) -> PredictedVector:
        """Predict the vector after `context` `[n, dim]`, oldest first.

        `key` selects the variant: the same key gets the same one. `variant` ("stable" or "canary")
        overrides the choice.
        """
        rows = as_rows(context, "context")
        return self._run(
            predictions.predict(rows, RoutingOptions(key, variant), self._run.budget())
        )

    def session(
        self,
        id: str | None = None,  # noqa: A002  it is the id
        *,
        history: VectorsLike | None = None,
        position: int | None = None,
        keep_vectors: bool = True,
        key: str | None = None,
        variant: str | None = None,
    ) -> ClientSession:
        """Return a session, which is new unless `history` or `position` says otherwise.

        Nothing is sent yet. Without `id`, a random one is drawn. To continue a session that the
        service has, give `history`, the vectors it holds `[n, dim]`, or only their number as
        `position`. With `keep_vectors`, the client keeps the vectors that the largest window reads
        (1000 of 768 numbers: 3 MB), and primes a session that the service has lost.
        """
        link = predictions.new_link(
            id, history, position, RoutingOptions(key, variant), self._windows, keep=keep_vectors
        )
        return ClientSession(self._run, link)

    def steps(self, sessions: Sequence[ClientSession], vectors: VectorsLike) -> list[StepResult]:
        """Append one vector to each of many sessions, in one request: `vectors` `[sessions, dim]`.

        The results are in the order of the sessions. A row that fails has its `error`; it fails
        alone. The sessions have no routing key, and all the same `variant`.
        """
        if not sessions:
            return []
        rows = as_rows(vectors)
        many_steps.check([session.link for session in sessions], len(rows))
        with ExitStack() as locks:
            # In one order everywhere, so that two calls cannot wait for each other.
            for session in sorted(sessions, key=lambda each: each.id):
                locks.enter_context(session.lock)
            links = [session.link for session in sessions]
            return self._run(many_steps.steps(links, rows, self._run.budget()))

    def feedback(self, prediction: PredictedVector | str, vector: VectorsLike) -> bool:
        """Report the vector `[dim]` that followed a prediction of `predict`, or its id.

        False if it was reported before. Sessions need no feedback: their next vector is theirs.
        """
        prediction_id = prediction if isinstance(prediction, str) else prediction.id
        return self._run(predictions.feedback(prediction_id, as_vector(vector), self._run.budget()))

    def is_ready(self) -> bool:
        """Whether the service answers and is ready. Asks once, and raises nothing."""
        return self._run(predictions.is_ready(self._run.budget()))


class ClientSession:
    """A context that grows on the service: one more vector costs one step.

    Get one from `Client.session`. Appends of several threads run one after the other.
    """

    def __init__(self, run: BlockingRunner, link: SessionLink) -> None:
        """`link` and `lock` are for `Client.steps`."""
        self._run = run
        self.link = link
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r}, length={self.length})"

    @property
    def id(self) -> str:
        """The session's id."""
        return self.link.state.id

    @property
    def length(self) -> int:
        """The number of vectors appended."""
        return self.link.state.length

    def append(self, vectors: VectorsLike) -> PredictedVector:
        """Append one vector `[dim]` or several `[k, dim]`, and predict the next one.

        Safe to repeat: after an error the session is as it was, and the same vectors may be
        appended again, or others in their place. A session that the service has lost (410, a
        restart) is primed from the vectors that the client has kept.
        """
        rows = as_rows(vectors)
        with self.lock:
            return self._run(predictions.append(self.link, rows, self._run.budget()))

    def restart(self, vectors: VectorsLike) -> PredictedVector:
        """Begin the session again with `vectors` `[k, dim]`, whatever it held."""
        rows = as_rows(vectors)
        with self.lock:
            return self._run(predictions.restart(self.link, rows, self._run.budget()))

    def info(self) -> SessionInfo:
        """Ask the service for the session's length, variant and version."""
        return self._run(predictions.session_info(self.id, self._run.budget()))

    def delete(self) -> None:
        """Delete the session on the service. It is empty then, and may be used again."""
        with self.lock:
            self._run(predictions.delete(self.link, self._run.budget()))
