"""One step for each of many sessions, as an operation without I/O."""

from __future__ import annotations

from collections.abc import Sequence

from nextvec import errors, frames, predictions, windows
from nextvec.arrays import Vectors
from nextvec.exchange import Budget, Call, Operation, Pause, Reply, exchange
from nextvec.predictions import SessionLink
from nextvec.results import StepResult

ROWS_OF_A_FRAME = 1024
"""Sessions in one request; the service takes at most `limits.max_rows`."""

_LOST = frozenset({404, 409, 410})
"""Statuses of rows whose session may be primed again."""

_PASSING = frozenset({429, 500, 503, 504})
"""Statuses of rows that are worth repeating."""

_BUSY = Reply(429, {}, b"")


def check(links: Sequence[SessionLink], rows: int) -> None:
    """Raise `ValueError` unless one request can carry a vector for each of `links`."""
    if len(links) != rows:
        raise ValueError(f"{len(links)} sessions and {rows} vectors: give one vector each")
    if len({link.state.id for link in links}) != len(links):
        raise ValueError("a session is given twice: append its vectors in one append")
    if any(link.routing.key is not None for link in links):
        raise ValueError("a session with a routing key of its own cannot take a step with others")
    if len({link.routing.variant for link in links}) > 1:
        raise ValueError("the sessions override the split in different ways: step them apart")


def steps(
    links: Sequence[SessionLink], rows: Vectors, budget: Budget
) -> Operation[list[StepResult]]:
    """Append one vector to each session: `rows` `[sessions, dim]`.

    A row that fails has an error in its result. Raises `Error` if the service answers none.
    """
    table = links[0].table
    if table.largest is None:
        yield from windows.learn(table, "", budget)
    results: dict[int, StepResult] = {}
    alone = [number for number, link in enumerate(links) if link.state.is_doubtful]
    waiting = [number for number in range(len(links)) if number not in set(alone)]
    while waiting:
        yield from _round(links, rows, waiting, results, budget)
        alone += [number for number in waiting if _status(results[number]) in _LOST]
        waiting = [number for number in waiting if _status(results[number]) in _PASSING]
        delay = budget.next_delay(_BUSY) if waiting else None
        if delay is None:
            break
        yield Pause(delay)
    for number in alone:
        results[number] = yield from _step_alone(links[number], rows[number : number + 1], budget)
    return [results[number] for number in range(len(links))]


def _round(
    links: Sequence[SessionLink],
    rows: Vectors,
    waiting: Sequence[int],
    results: dict[int, StepResult],
    budget: Budget,
) -> Operation[None]:
    """Send the rows `waiting`, and fill in their `results`."""
    for begin in range(0, len(waiting), ROWS_OF_A_FRAME):
        together = waiting[begin : begin + ROWS_OF_A_FRAME]
        chosen = [links[number] for number in together]
        try:
            answers = yield from _frame(chosen, rows[list(together)], budget)
        except (errors.StatusError, errors.TransportError) as error:
            if not results:
                raise
            # What was answered before must not be lost with the rest.
            results.update((i, StepResult(links[i].state.id, error=error)) for i in waiting[begin:])
            return
        results.update(zip(together, answers, strict=True))


def _frame(
    links: Sequence[SessionLink], rows: Vectors, budget: Budget
) -> Operation[list[StepResult]]:
    states, lost = [link.state for link in links], budget.lost
    are_new = [state.begin_append(1) for state in states]
    content = frames.encode(
        [state.id for state in states], [state.position for state in states], rows
    )
    call = Call("POST", "/v1/steps", headers=links[0].routing.headers, content=content)
    reply = yield from exchange(call, budget)
    results = []
    answers = frames.decode(reply.content, len(states), rows.shape[1])
    for number, (link, answer) in enumerate(zip(links, answers, strict=True)):
        state = link.state
        if answer.status == 200:
            state.commit(rows[number : number + 1], answer.length, link.table.largest)
            results.append(StepResult(state.id, answer.vector, state.length))
            continue
        if are_new[number] and budget.lost == lost:
            state.cancel_append(1)
        error = errors.of_row(state.id, answer.status, answer.length)
        results.append(StepResult(state.id, error=error))
    return results


def _step_alone(link: SessionLink, row: Vectors, budget: Budget) -> Operation[StepResult]:
    """Append to one session, which is primed again if need be."""
    try:
        prediction = yield from predictions.append(link, row, budget)
    except (errors.StatusError, errors.TransportError) as error:
        return StepResult(link.state.id, error=error)
    return StepResult(link.state.id, prediction.vector, prediction.length)


def _status(result: StepResult) -> int:
    return result.error.status if isinstance(result.error, errors.StatusError) else 0
