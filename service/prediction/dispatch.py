"""The path of every prediction: route, run within the deadline, record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from service.clock import Clock
from service.contexts.prefix_cache import PrefixCache
from service.contexts.session import AppendPlan, Session
from service.contexts.session_quota import SessionQuota
from service.contexts.session_store import (
    ImmediateSessionStore,
    SessionStart,
    SessionStore,
    SessionSummary,
)
from service.errors import NextvecError, NotFound
from service.inference.registry import Registry
from service.inference.scheduling.job import EngineResult
from service.metrics import Metrics
from service.observability import request_scope, tracing
from service.prediction.append_commit import AppendCommitter, append_mode, pending_prediction
from service.prediction.append_group import AppendGroup
from service.prediction.context_runner import ContextRunner
from service.prediction.deadline import Deadline
from service.prediction.immediate_append import Answer, ImmediateAppend, ImmediateAppends
from service.prediction.request import Prediction, RequestOptions, SessionAppend
from service.prediction.request_record import RequestRecorder
from service.prediction.routing import RequestRouter, RoutingDecision
from service.prediction.shadow_runner import ShadowRunner
from service.prediction.submission import Submitter, run_all
from service.quality.online_scorer import OnlineScorer
from service.random_ids import draw_id
from service.rollout.routing.traffic_split import Route, TrafficRouter
from service.settings import LimitSettings
from service.types import Mode, Vectors
from service.validation import validate_shape, validate_values, validate_vectors


class Dispatch:
    """Every prediction goes through here, from any protocol."""

    def __init__(  # noqa: PLR0913 - the composition root hands in every part
        self,
        traffic: TrafficRouter,
        registry: Registry,
        sessions: SessionStore,
        metrics: Metrics,
        clock: Clock,
        *,
        limits: LimitSettings,
        prefixes: PrefixCache | None = None,
        scorer: OnlineScorer | None = None,
        shadow: ShadowRunner | None = None,
        draw_key: Callable[[], str] = draw_id,
    ) -> None:
        self._router = RequestRouter(traffic, registry, draw_key)
        self._submitter = Submitter(metrics, clock)
        self._contexts = ContextRunner(prefixes, registry, self._submitter, metrics)
        self._recorder = RequestRecorder(metrics, clock)
        self._committer = AppendCommitter(scorer, shadow)
        # Others have to be asked first: to begin at once would do the routing twice.
        self._immediate = (
            ImmediateAppends(
                self._router,
                sessions,
                self._submitter,
                self._committer,
                self._recorder,
                clock,
                limits,
            )
            if isinstance(sessions, ImmediateSessionStore)
            else None
        )
        self._sessions = sessions
        self._clock = clock
        self._max_rows = limits.max_rows
        self._timeout = limits.timeout_seconds
        self._scorer = scorer
        self._shadow = shadow
        metrics.sessions.set_function(lambda: len(sessions))
        metrics.session_bytes.set_function(lambda: sessions.nbytes)

    @property
    def last_predictions(self) -> Mapping[str, float]:
        """When each version last predicted, in epoch seconds."""
        return self._submitter.last_predictions

    async def predict(self, context: Vectors, options: RequestOptions) -> Prediction:
        """Predict the vector after `context` `[n, dim]`, of which the last window is read.

        Raises `Invalid`, `NotFound` for a version that is not loaded, `DeadlineExceeded`,
        and what `Scheduler.submit` raises.
        """
        (prediction,), decision = await self._predict([context], options)
        request_id, caller = options.request_id, options.caller
        if self._scorer is not None and request_id is not None and caller is not None:
            # Without a key one was drawn for this request, and the request id stands for it.
            key = request_id if options.key is None else options.key
            pending = pending_prediction(
                prediction.vector, decision, key, key, single_use=options.key is None
            )
            if pending is not None:
                self._scorer.await_label(caller, request_id, pending)
        return prediction

    async def predict_batch(
        self, contexts: Sequence[Vectors], options: RequestOptions
    ) -> list[Prediction]:
        """Predict as `predict` does for several contexts, by one version; if one fails, all do.

        The metrics count one request, as its caller does: predictions that wait for each
        other are not independent samples.
        """
        return (await self._predict(contexts, options))[0]

    async def append(
        self,
        session_id: str,
        vectors: Vectors,
        options: RequestOptions,
        *,
        position: int | None = None,
        begin: SessionStart = SessionStart.IF_UNKNOWN,
        end: bool = False,
    ) -> Prediction:
        """Append `vectors` `[k, dim]` to the session and predict the vector after them.

        `position` is the session's length before the append. A repeat of the last append
        returns its prediction again; any other mismatch raises `Conflict` with the true
        position. Appends to one session run in order of arrival. A failed append leaves the
        session unchanged. `end` forgets the session after a successful append. The deadline
        includes the wait for earlier appends.

        Raises as `predict` does, `NotFound` for an unknown session that should exist, and
        `Gone` for an evicted one.
        """
        request_scope.note("session", session_id)
        future: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        immediate = self.begin_append(
            session_id,
            vectors,
            options,
            partial(_settle, future),
            position=position,
            begin=begin,
            end=end,
        )
        if immediate is None:
            return await self._append_in_turn(
                session_id, vectors, options, position=position, begin=begin, end=end
            )
        try:
            return await future
        except asyncio.CancelledError:
            immediate.cancel()
            if future.done() and not future.cancelled():
                future.exception()  # otherwise asyncio reports that nobody looked
            raise

    async def append_each(
        self, appends: Sequence[SessionAppend], options: RequestOptions
    ) -> list[Prediction | NextvecError]:
        """Append as `append` does for several sessions; each is answered by itself.

        Those of one session run in their order.
        """
        return await AppendGroup(self.begin_append, self.append, options).run(appends)

    def begin_append(
        self,
        session_id: str,
        vectors: Vectors,
        options: RequestOptions,
        answer: Answer,
        *,
        position: int | None = None,
        begin: SessionStart = SessionStart.IF_UNKNOWN,
        end: bool = False,
    ) -> ImmediateAppend | None:
        """As `append`, for one that need not wait; see `ImmediateAppends.begin`."""
        if self._immediate is None:
            return None
        return self._immediate.begin(
            session_id, vectors, options, answer, position=position, begin=begin, end=end
        )

    async def _append_in_turn(
        self,
        session_id: str,
        vectors: Vectors,
        options: RequestOptions,
        *,
        position: int | None,
        begin: SessionStart,
        end: bool,
    ) -> Prediction:
        """Append when all that it needs is there: its turn, the store, several runs."""
        began = self._clock.monotonic()
        decision = self._router.decide(options, session_id)
        mode = append_mode(1, vectors)
        restart = begin is SessionStart.RESTART
        held = decision.loaded.scheduler.enter()
        try:
            validate_vectors(vectors, decision.loaded.manifest.dimensions.dim, self._max_rows)
            deadline = Deadline(self._timeout, options.timeout_seconds, options.waited_seconds)
            async with (
                deadline,
                self._sessions.use(session_id, position, begin, options.owner) as session,
            ):
                while True:
                    length = 0 if restart else session.length
                    mode = append_mode(length, vectors)
                    # The split may have changed while the append waited for its turn.
                    decision = self._router.renew(decision, options, session_id)
                    if position is not None and position != length:
                        # A repeat costs nothing, whichever version made the prediction.
                        decision = decision.without_evidence()
                        if await self._sessions.refresh(session):
                            continue
                        prediction = await self._repeat(
                            session, vectors, position, decision, mode, deadline
                        )
                        break
                    loaded = decision.loaded
                    plan = session.plan_append(
                        vectors, loaded.manifest, loaded.digest, restart=restart
                    )
                    if plan.primed:
                        # The cost of a move falls on the variant that gains sessions, not on
                        # a random half of the requests: it says nothing about speed.
                        decision = decision.without_evidence()
                    write = self._sessions.begin_append(
                        session, plan, decision.route, positioned=position is not None, end=end
                    )
                    try:
                        results = await run_all(self._works(plan, decision, mode, deadline))
                        if write is not None and not await write.stored():
                            # Another replica went on with the session: so does this one, from
                            # what that one stored. The time of both tries is nobody's evidence.
                            decision = decision.without_evidence()
                            continue
                    except BaseException:
                        if write is not None:
                            write.undo()
                        raise
                    prediction = self._committer.commit(
                        session, plan, results, decision, mode, options
                    )
                    break
                if end:
                    self._sessions.forget(session)
                else:
                    self._sessions.keep(session)
        except BaseException as error:
            self._recorder.fail(decision, mode, began, error, tracing.exemplar())
            raise
        finally:
            held.leave()
        self._recorder.succeed(decision, mode, began, tracing.exemplar())
        return prediction

    async def session(self, session_id: str, owner: SessionQuota | None = None) -> SessionSummary:
        """The owner's session, to read. Raises as `SessionStore.read` does."""
        return await self._sessions.read(session_id, owner)

    async def delete_session(self, session_id: str, owner: SessionQuota | None = None) -> None:
        """Delete the owner's session. Raises as `SessionStore.read` does."""
        await self._sessions.delete(session_id, owner)

    async def label(self, caller: bytes, request_id: str, vectors: Vectors) -> bool:
        """Score the prediction of an earlier `predict`. Returns and raises as the scorer's
        `label` does."""
        if self._scorer is None:
            raise NotFound("this service does not score predictions")
        return await self._scorer.label(caller, request_id, vectors, self._router.split)

    async def _predict(
        self, contexts: Sequence[Vectors], options: RequestOptions
    ) -> tuple[list[Prediction], RoutingDecision]:
        began = self._clock.monotonic()
        decision = self._router.decide(options)
        held = decision.loaded.scheduler.enter()
        try:
            manifest = decision.loaded.manifest
            for context in contexts:
                validate_shape(context, manifest.dimensions.dim, self._max_rows)
                if len(context) > manifest.context_window:
                    validate_values(context)  # of the rest, the window is checked below
            windows = [context[-manifest.context_window :] for context in contexts]
            deadline = Deadline(self._timeout, options.timeout_seconds, options.waited_seconds)
            async with deadline:
                prefixes = await self._contexts.find_prefixes(decision, options.caller, windows)
                if any(prefix is not None and prefix.behind for prefix in prefixes):
                    # This version would look slow for what only the other one has seen
                    # (ADR 16).
                    decision = decision.without_evidence()
                results = await run_all(
                    [
                        self._contexts.run(decision, window, prefix, deadline.seconds_left)
                        for window, prefix in zip(windows, prefixes, strict=True)
                    ]
                )
            if self._shadow is not None and decision.is_shadowed:
                known = sum(prefix.length for prefix in prefixes if prefix is not None)
                self._shadow.copy_context(contexts[0], results[0], decision.split, known=known)
        except BaseException as error:
            self._recorder.fail(decision, Mode.PREFILL, began, error, tracing.exemplar())
            raise
        finally:
            held.leave()
        self._recorder.succeed(decision, Mode.PREFILL, began, tracing.exemplar())
        return [_prediction(result, decision.route) for result in results], decision

    async def _repeat(
        self,
        session: Session,
        vectors: Vectors,
        position: int,
        decision: RoutingDecision,
        mode: Mode,
        deadline: Deadline,
    ) -> Prediction:
        """Answer the last append once more. Raises `Conflict` if `vectors` do not repeat it."""
        vector = session.repeated(vectors, position)
        if vector is None:  # the replica that answered it is another one
            loaded = decision.loaded
            plan = session.plan_replay(loaded.manifest, loaded.digest)
            results = await run_all(self._works(plan, decision, mode, deadline))
            vector = results[0].vector
            states = [each.state for each in results]
            session.commit_replay(plan, states, vector, decision.route.version)
        route = Route(session.variant, session.version, assigned=False)
        return Prediction(vector, route, 0.0, 0.0, session.length)

    def _works(
        self, plan: AppendPlan, decision: RoutingDecision, mode: Mode, deadline: Deadline
    ) -> list[Coroutine[Any, Any, EngineResult]]:
        """What the engine has to run for `plan`, not begun yet."""
        return [
            self._submitter.submit(
                decision, mode, run.vectors, run.state, patience=deadline.seconds_left
            )
            for run in plan.runs
        ]


def _settle(future: asyncio.Future[Prediction], outcome: Prediction | BaseException) -> None:
    """Hand the outcome of an append to the coroutine that waits for it, if it still does."""
    if future.done():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _prediction(result: EngineResult, route: Route, length: int | None = None) -> Prediction:
    return Prediction(result.vector, route, result.queue_seconds, result.inference_seconds, length)
