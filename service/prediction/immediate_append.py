"""Appends that need not wait for anything but the engine, without a task of their own.

Most appends find their session free and need one run. To suspend a coroutine for that, with its
task, deadline and locks, costs as much as all the rest of the append.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from service.clock import Clock
from service.contexts.session import AppendPlan, Session
from service.contexts.session_store import ImmediateSessionStore, SessionStart
from service.inference.scheduling.job import EngineResult, Job
from service.observability import tracing
from service.prediction.append_commit import AppendCommitter, append_mode
from service.prediction.deadline import TimeLimit
from service.prediction.request import Prediction, RequestOptions
from service.prediction.request_record import RequestRecorder
from service.prediction.routing import RequestRouter, RoutingDecision
from service.prediction.submission import Submitter
from service.settings import LimitSettings
from service.timers import TimerEntry, shared_timer
from service.types import Mode, Vectors
from service.validation import validate_vectors

Answer = Callable[[Prediction | BaseException], object]
"""Gets the outcome of an append, once."""


class ImmediateAppends:
    """Begins such appends."""

    def __init__(
        self,
        router: RequestRouter,
        sessions: ImmediateSessionStore,
        submitter: Submitter,
        committer: AppendCommitter,
        recorder: RequestRecorder,
        clock: Clock,
        limits: LimitSettings,
    ) -> None:
        self.sessions = sessions
        self.submitter = submitter
        self.committer = committer
        self.recorder = recorder
        self._router = router
        self._clock = clock
        self._max_rows = limits.max_rows
        self._timeout = limits.timeout_seconds

    def begin(
        self,
        session_id: str,
        vectors: Vectors,
        options: RequestOptions,
        answer: Answer,
        *,
        position: int | None,
        begin: SessionStart,
        end: bool,
    ) -> ImmediateAppend | None:
        """Give the append to the engine; None if it has to wait, or to run more than once.

        `answer` may be called before this returns. The rest is as for `Dispatch.append`. Of an
        append for which it returns None, nothing has happened. Raises what `Dispatch.append`
        raises before the engine runs.
        """
        if tracing.current() is not None:
            return None  # a span is recorded for each stage
        began = self._clock.monotonic()
        decision = self._router.decide(options, session_id)
        mode = append_mode(1, vectors)
        held = decision.loaded.scheduler.enter()
        session = append = None
        try:
            manifest = decision.loaded.manifest
            validate_vectors(vectors, manifest.dimensions.dim, self._max_rows)
            session = self.sessions.try_use(session_id, position, begin, options.owner)
            if session is not None:
                restart = begin is SessionStart.RESTART
                length = 0 if restart else session.length
                mode = append_mode(length, vectors)
                if position is None or position == length:
                    plan = session.plan_append(
                        vectors, manifest, decision.loaded.digest, restart=restart
                    )
                    if plan.primed:  # as in `Dispatch.append`
                        decision = decision.without_evidence()
                    if len(plan.runs) == 1:
                        append = ImmediateAppend(
                            self, session, plan, decision, mode, options, began, answer
                        )
                        limit = TimeLimit.of(
                            self._timeout, options.timeout_seconds, options.waited_seconds
                        )
                        append.run(limit, end=end)
        except BaseException as error:
            if session is not None:
                self.sessions.leave(session)
            held.leave()
            self.recorder.fail(decision, mode, began, error, tracing.exemplar())
            raise
        if append is None:
            if session is not None:
                self.sessions.leave(session)
            held.leave()
        return append


class ImmediateAppend:
    """One append in the engine. It acts as the future of its job.

    It holds its session until it ends: with the engine's outcome, at its deadline, or by `cancel`.
    """

    __slots__ = (
        "_answer",
        "_began",
        "_decision",
        "_end",
        "_exemplar",
        "_has_ended",
        "_job",
        "_limit",
        "_mode",
        "_options",
        "_parts",
        "_plan",
        "_session",
        "_timer",
    )

    def __init__(
        self,
        parts: ImmediateAppends,
        session: Session,
        plan: AppendPlan,
        decision: RoutingDecision,
        mode: Mode,
        options: RequestOptions,
        began: float,
        answer: Answer,
    ) -> None:
        self._parts = parts
        self._session = session
        self._plan = plan
        self._decision = decision
        self._mode = mode
        self._options = options
        self._began = began
        self._exemplar = tracing.exemplar()
        self._answer = answer
        self._has_ended = False
        self._end = False
        self._job: Job | None = None
        self._limit: TimeLimit | None = None
        self._timer: TimerEntry | None = None

    def run(self, limit: TimeLimit, *, end: bool) -> None:
        """Queue the append. Raises what `Scheduler.add` raises; it has then not begun."""
        self._limit, self._end = limit, end
        (run,) = self._plan.runs
        scheduler = self._decision.loaded.scheduler
        job = scheduler.add(self, run.vectors, run.state, patience=limit.left)
        if not self._has_ended:
            self._job = job
            loop = asyncio.get_running_loop()
            self._timer = shared_timer(loop).call_at(loop.time() + limit.left, self._pass_deadline)

    def done(self) -> bool:
        """Whether it has ended."""
        return self._has_ended

    def set_result(self, result: EngineResult, /) -> None:
        """Commit and answer."""
        parts, session, decision = self._parts, self._session, self._decision
        try:
            parts.submitter.observe(decision, self._mode, result, self._exemplar)
            prediction = parts.committer.commit(
                session, self._plan, [result], decision, self._mode, self._options
            )
            if self._end:
                parts.sessions.forget(session)
            else:
                parts.sessions.keep(session)
        except Exception as error:  # noqa: BLE001  whoever asked has to learn of it
            self.set_exception(error)
            return
        self._leave()
        parts.recorder.succeed(decision, self._mode, self._began, self._exemplar)
        self._answer(prediction)

    def set_exception(self, error: BaseException, /) -> None:
        """Answer with an error; the session is as it was."""
        self._fail(error)
        self._answer(error)

    def cancel(self) -> None:
        """End without an answer: whoever asked has gone."""
        if not self._has_ended:
            self._withdraw()
            self._fail(asyncio.CancelledError())

    def _pass_deadline(self) -> None:
        assert self._limit is not None
        self._withdraw()
        self.set_exception(self._limit.error())

    def _withdraw(self) -> None:
        assert self._job is not None
        self._decision.loaded.scheduler.withdraw(self._job)

    def _fail(self, error: BaseException) -> None:
        self._leave()
        self._parts.recorder.fail(self._decision, self._mode, self._began, error, self._exemplar)

    def _leave(self) -> None:
        self._has_ended = True
        self._job = None  # which refers to this: a cycle would keep the vectors for long
        if self._timer is not None:
            self._timer.cancel()
        self._parts.sessions.leave(self._session)
        self._decision.loaded.scheduler.leave()
