"""An infer request of the Open Inference Protocol, whichever protocol carried it."""

from __future__ import annotations

from dataclasses import dataclass

from service.api import parameters
from service.api.access.api_keys import LimitedCaller
from service.api.codecs.tensors import InferRequest
from service.api.edge import Edge
from service.api.http_call import owner_of
from service.contexts.session_store import SessionStart
from service.errors import Invalid, NotFound, quoted
from service.prediction.request import Prediction, RequestOptions
from service.types import Variant


@dataclass(frozen=True, slots=True)
class InferCall:
    """What is known of an infer request besides its tensors and parameters.

    `version` comes from the address of the model, `routing_key` and `override` from header
    fields. `caller` is the holder of the API key; None where keys are off.
    """

    services: Edge
    model: str
    version: str | None
    routing_key: str | None
    override: Variant | None
    caller: LimitedCaller | None
    caller_digest: bytes

    def check(self) -> None:
        """Raise `NotFound` or `Invalid` for a request that names what does not exist."""
        require_known(self.model, self.services)
        if self.version is not None:
            self.services.check_version(self.version)
            if self.override is not None:
                raise Invalid(
                    "the path names a version and X-Variant a variant: send only one of them"
                )

    async def predict(self, wanted: InferRequest, waited_seconds: float) -> list[Prediction]:
        """Answer `wanted`, one prediction a context.

        `waited_seconds` have passed since the request arrived. Raises what `Dispatch` raises.
        """
        if self.caller is not None:
            await self.caller.take_vectors(sum(len(context) for context in wanted.contexts))
        key = parameters.agreed("the routing key", self.routing_key, wanted.routing_key or None)
        options = RequestOptions(
            key,
            self.override,
            self.version,
            wanted.timeout_seconds,
            self.caller_digest,
            owner=owner_of(self.caller),
            waited_seconds=waited_seconds,
        )
        self._check_batch(wanted)
        contexts, step = list(wanted.contexts), wanted.sequence
        if step is None:
            return await self.services.predictor.predict_batch(contexts, options)
        begin = SessionStart.RESTART if step.start else SessionStart.NEVER
        return [
            await self.services.predictor.append(
                step.id, contexts[0], options, begin=begin, end=step.end
            )
        ]

    def _check_batch(self, wanted: InferRequest) -> None:
        contexts, most = len(wanted.contexts), self.services.settings.engine.queue_limit
        if contexts > most:
            raise Invalid(f"a batch of {contexts} exceeds the queue limit of {most}: split it")
        if wanted.sequence is not None and contexts > 1:
            raise Invalid(f"a sequence takes one context per request, not {contexts}")


def require_known(model: str, services: Edge) -> str:
    """Return the name of the model. Raises `NotFound` unless it is the model of this service."""
    if model != services.settings.model:
        raise NotFound(
            f"there is no model {quoted(model)}; this service has {services.settings.model!r}",
            code="model_not_found",
        )
    return model


def slowest(predictions: list[Prediction]) -> Prediction:
    """Return the prediction whose times are reported for all of them."""
    return max(predictions, key=lambda made: made.queue_seconds + made.inference_seconds)
