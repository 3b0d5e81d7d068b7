"""Predictions, sessions and labels as operations without I/O."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from itertools import count

from nextvec import arrays, errors, windows
from nextvec.arrays import Vectors, VectorsLike
from nextvec.exchange import BINARY, JSON, Budget, Call, Operation, Reply, exchange
from nextvec.results import PredictedVector, SessionInfo
from nextvec.session_state import KeptVectors, Recovery, SessionState
from nextvec.windows import WindowTable

MAX_RECOVERIES = 5
"""How often one append primes its session again. Each time, something took it away meanwhile."""

ROWS_OF_A_PIECE = 1024
"""Kept vectors in one request; the service takes at most `limits.max_rows`, 4096 by default."""

_USABLE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True)
class RoutingOptions:
    """Which variant answers: a routing `key`, or an override by name."""

    key: str | None = None
    variant: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the contract. Raises `ValueError`."""
        found = {"Content-Type": BINARY, "Accept": BINARY}
        if self.key is not None:
            if not self.key or not self.key.isprintable() or not self.key.isascii():
                raise ValueError(f"key is {self.key!r}: give visible ASCII characters")
            found["X-Routing-Key"] = self.key
        if self.variant is not None:
            if self.variant not in {"stable", "canary"}:
                raise ValueError(f"variant is {self.variant!r}: give 'stable' or 'canary'")
            found["X-Variant"] = self.variant
        return found


@dataclass
class SessionLink:
    """A session, how its requests are routed, and the windows that bound what is kept of it."""

    state: SessionState
    routing: RoutingOptions
    table: WindowTable = field(repr=False)


def check_id(session: str) -> str:
    """Return a session's id if the service takes it. Raises `ValueError`."""
    if not _USABLE_ID.fullmatch(session) or session in {".", ".."}:
        raise ValueError(
            f"session id {session!r}: give 1 to 128 letters, digits, dots, underscores, colons or "
            "hyphens, and neither . nor .."
        )
    return session


def new_link(
    session: str | None,
    history: VectorsLike | None,
    position: int | None,
    routing: RoutingOptions,
    table: WindowTable,
    *,
    keep: bool,
) -> SessionLink:
    """Return a session that begins, or one that continues `history` or `position` vectors.

    Raises `ValueError`.
    """
    name = uuid.uuid4().hex if session is None else check_id(session)
    state = SessionState(name, KeptVectors() if keep else None)
    length = 0 if position is None else position
    if length < 0:
        raise ValueError(f"position is {position}: give a number of vectors")
    if history is not None:
        rows = arrays.as_rows(history, "history")
        if position not in {None, len(rows)}:
            raise ValueError(f"history has {len(rows)} vectors, and position is {position}")
        state.commit(rows, len(rows), table.largest)
    else:
        state.length = state.position = length
    return SessionLink(state, routing, table)


def is_ready(budget: Budget) -> Operation[bool]:
    """Ask once whether the service is ready."""
    outcome = yield Call("GET", "/v2/health/ready", timeout=budget.timeout)
    return isinstance(outcome, Reply) and outcome.is_success


def predict(
    context: Vectors, routing: RoutingOptions, budget: Budget
) -> Operation[PredictedVector]:
    """Predict the vector after `context` `[n, dim]`. Raises `Error`."""
    call = Call("POST", "/v1/predict", headers=routing.headers, content=context.tobytes())
    reply = yield from exchange(call, budget)
    return PredictedVector.of_reply(reply, arrays.from_bytes(reply.content, context.shape[1]))


def feedback(prediction_id: str, vector: Vectors, budget: Budget) -> Operation[bool]:
    """Report the vector `[1, dim]` that followed a prediction; False for a repeat.

    Raises `Error`.
    """
    call = Call(
        "POST",
        "/v1/feedback",
        query={"request_id": prediction_id},
        headers={"Content-Type": BINARY, "Accept": JSON},
        content=vector.tobytes(),
    )
    reply = yield from exchange(call, budget)
    counted = json_object(reply).get("counted")
    return counted is True


def session_info(session: str, budget: Budget) -> Operation[SessionInfo]:
    """Read the session's state on the server. Raises `Error`."""
    reply = yield from exchange(Call("GET", f"/v1/sessions/{session}"), budget)
    try:
        return SessionInfo.of_json(json_object(reply))
    except (KeyError, ValueError) as error:
        raise errors.ResponseError(f"the answer is not a session: {error!r}") from error


def delete(link: SessionLink, budget: Budget) -> Operation[None]:
    """Delete the session on the server; one that is not there is no error. Raises `Error`.

    Afterwards it is empty, and the next append begins it again.
    """
    yield from _delete(link.state, budget)
    link.state.reset()


def restart(link: SessionLink, rows: Vectors, budget: Budget) -> Operation[PredictedVector]:
    """Begin the session again with `rows` `[k, dim]`, whatever it held. Raises `Error`."""
    link.state.reset()
    link.state.is_doubtful = True
    return (yield from append(link, rows, budget))


def append(link: SessionLink, rows: Vectors, budget: Budget) -> Operation[PredictedVector]:
    """Append `rows` `[k, dim]` and predict the vector after them.

    A session that the service has lost is primed from the kept vectors. Raises `Error`; the
    session then is as it was for the caller, and the same or another append may follow.
    """
    state, table = link.state, link.table
    if table.largest is None and state.kept is not None:
        yield from windows.learn(table, "", budget)
    needed = Recovery.REPLACE if state.is_doubtful else Recovery.NONE
    for recoveries in count():
        try:
            if needed is Recovery.NONE:
                prediction = yield from _append(link, rows, budget)
            else:
                prediction = yield from _prime(link, rows, needed, budget)
        except errors.StatusError as error:
            needed = state.recovery(error, table.largest)
            if needed is Recovery.NONE or recoveries >= MAX_RECOVERIES:
                _add_advice(error, state)
                raise
            continue
        if state.kept is not None and table.is_new(prediction.version):
            yield from windows.learn(table, prediction.version, budget)
        return prediction
    raise AssertionError  # the loop has no end


def json_object(reply: Reply) -> dict[str, object]:
    """Return the JSON object of an answer. Raises `ResponseError`."""
    try:
        parsed = json.loads(reply.content)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise errors.ResponseError(
            "the answer is not a JSON object: is this the address of a nextvec service?"
        )
    return parsed


def _append(link: SessionLink, rows: Vectors, budget: Budget) -> Operation[PredictedVector]:
    state = link.state
    lost = budget.lost
    is_new = state.begin_append(len(rows))
    try:
        reply = yield from exchange(_append_call(link, rows, state.position), budget)
    except errors.StatusError:
        if is_new and budget.lost == lost:
            state.cancel_append(len(rows))
        raise
    return _commit(link, rows, reply, state.position + len(rows))


def _prime(
    link: SessionLink, rows: Vectors, needed: Recovery, budget: Budget
) -> Operation[PredictedVector]:
    """Send what is kept, and `rows`, as a new session. The last request has all of `rows`."""
    state = link.state
    sent = state.rows_to_prime(rows, link.table.largest)
    state.is_doubtful = True
    if needed is Recovery.REPLACE:
        yield from _delete(state, budget)
    begin = 0
    while len(sent) - len(rows) - begin > ROWS_OF_A_PIECE:
        piece = sent[begin : begin + ROWS_OF_A_PIECE]
        yield from exchange(_append_call(link, piece, begin), budget)
        begin += len(piece)
    reply = yield from exchange(_append_call(link, sent[begin:], begin), budget)
    return _commit(link, rows, reply, len(sent))


def _commit(link: SessionLink, rows: Vectors, reply: Reply, position: int) -> PredictedVector:
    vector = arrays.from_bytes(reply.content, rows.shape[1])
    link.state.commit(rows, position, link.table.largest)
    return PredictedVector.of_reply(reply, vector, link.state.length)


def _append_call(link: SessionLink, rows: Vectors, position: int) -> Call:
    return Call(
        "POST",
        f"/v1/sessions/{link.state.id}/vectors",
        query={"position": str(position)},
        headers=link.routing.headers,
        content=rows.tobytes(),
    )


def _delete(state: SessionState, budget: Budget) -> Operation[None]:
    try:
        yield from exchange(Call("DELETE", f"/v1/sessions/{state.id}"), budget)
    except (errors.NotFoundError, errors.GoneError):
        return


def _add_advice(error: errors.StatusError, state: SessionState) -> None:
    if isinstance(error, errors.PositionConflictError):
        if state.length == 0 and error.position > 0:
            error.add_note(
                f"a session of this id exists already: continue it with session({state.id!r}, "
                f"position={error.position}), or delete() it first"
            )
        elif error.position > state.position:
            error.add_note("somebody else appends to this session: give each writer its own id")
    if isinstance(error, errors.GoneError) or getattr(error, "position", None) == 0:
        error.add_note(
            "the service has lost the session, and this client has not kept the vectors to prime "
            "it: restart(vectors) begins it again"
        )
