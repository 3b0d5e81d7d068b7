"""The staged training loop: draws batches on the device, averages weights, validates, resumes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from architectures.memory_augmented_gru import MemoryAugmentedGRU
from architectures.model import NextVectorModel
from training.stages.device_corpus import DeviceCorpus
from training.stages.loss import BatchLoss, batch_loss
from training.stages.recipe import Stage, StagedRecipe
from training.stages.state import StagedState, StagedStore, Weights
from training.stages.validation import Validator, fold_scale
from training.trainer import set_dropout

SAVE_EVERY = 30.0
"""Seconds of training between two saved states."""

_SYNCHRONIZE_EVERY = 8
"""Optimizer steps between two readings of the clock: a GPU runs ahead of the CPU."""

Report = Callable[[float, str], None]
"""Called with the share of the run that is done, 0..1, and a line of text."""


class StagedTrainer:
    """Trains a model through the stages of a recipe.

    Its state is complete between two optimizer steps. The same seed gives the same model on one
    device if every stage is given in epochs, and as far as the device's libraries are
    deterministic: PyTorch's CPU operators are; cuDNN's GRU and the scattered sums of a gradient
    on CUDA are not.
    """

    def __init__(
        self,
        model: NextVectorModel,
        corpus: DeviceCorpus,
        recipe: StagedRecipe,
        validator: Validator,
        report: Report,
    ) -> None:
        """Raises `ValueError` if the corpus has too few vectors for a stage's window."""
        for number, stage in enumerate(recipe.stages, start=1):
            if len(corpus) <= stage.window:
                raise ValueError(
                    f"{len(corpus)} vectors to train on are too few for the window of "
                    f"{stage.window} of stage {number}"
                )
        self._recipe, self._corpus, self._report = recipe, corpus, report
        self._validator = validator
        self._device = corpus.device
        if self._device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = True
            torch.backends.cudnn.allow_tf32 = True
        self.model = model.to(self._device)
        set_dropout(model, recipe.dropout)
        torch.manual_seed(recipe.seed)  # of dropout
        self._sampler = torch.Generator(self._device)
        self._sampler.manual_seed(recipe.seed)
        self._parameters = [value for value in model.parameters() if value.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=1e-3, betas=recipe.betas, weight_decay=recipe.weight_decay
        )
        self._averaged = [value.detach().clone() for value in self._parameters]
        self._stage = self._steps = self._vectors = self._total_vectors = 0
        self._seconds = self._total_seconds = 0.0
        self._batch_limit = self._validated = 0
        self._best: Weights = {}
        self._best_score, self._best_scale = -1.0, 1.0
        self.history: list[dict[str, Any]] = []

    @property
    def finished(self) -> bool:
        return self._stage >= len(self._recipe.stages)

    def run(self, store: StagedStore | None = None, deadline: float = math.inf) -> None:
        """Train to the end, or until `time.monotonic()` passes `deadline`; see `finish`.

        Raises `ValueError` if the loss is not finite.
        """
        saved = time.monotonic()
        while not self.finished and time.monotonic() < deadline:
            self._run_steps()
            if store is not None and (self.finished or time.monotonic() - saved > SAVE_EVERY):
                store.save(self.state())
                saved = time.monotonic()
        if not self.finished:
            self._validate()

    def finish(self, *, fold: bool = True) -> NextVectorModel:
        """The model with the best validated weights; with `fold`, its step is scaled."""
        self.model.load_state_dict(self._best)
        if fold and isinstance(self.model, MemoryAugmentedGRU):
            fold_scale(self.model, self._best_scale)
        return self.model.eval()

    @property
    def best_scale(self) -> float:
        return self._best_scale

    @property
    def seconds(self) -> float:
        """Seconds of training, without validation."""
        return self._total_seconds

    def _run_steps(self) -> None:
        """A few optimizer steps, and a validation if it is due."""
        stage = self._recipe.stages[self._stage]
        self.model.train()
        began = time.perf_counter()
        losses, vectors = [], 0
        for _ in range(_SYNCHRONIZE_EVERY):
            progress = self._progress(stage, time.perf_counter() - began, vectors)
            if progress >= 1:
                break
            loss, batch = self._step(stage, progress)
            losses.append(loss)
            vectors += stage.window * batch
        total = torch.stack([loss.total.detach() for loss in losses]).mean().item()
        seconds = time.perf_counter() - began
        if not math.isfinite(total):
            raise ValueError(
                f"the loss of stage {self._stage + 1} is {total}: the recipe's learning_rate may "
                "be too high"
            )
        self._seconds += seconds
        self._total_seconds += seconds
        self._vectors += vectors
        self._total_vectors += vectors
        progress = self._progress(stage, 0.0, 0)
        last = losses[-1]
        self._report(
            (self._stage + min(1.0, progress)) / len(self._recipe.stages),
            f"stage {self._stage + 1} loss {total:.4f} cosine {last.cosine.item():.3f} "
            f"step {last.step_length.item():.2f} {vectors / seconds:,.0f} vectors per second",
        )
        if int(progress * self._recipe.validations) > self._validated or progress >= 1:
            self._validated += 1
            self._validate()
        if progress >= 1:
            self._stage += 1
            self._seconds, self._vectors, self._validated = 0.0, 0, 0

    def _progress(self, stage: Stage, seconds: float, vectors: int) -> float:
        if stage.seconds:
            return (self._seconds + seconds) / stage.seconds
        return (self._vectors + vectors) / (stage.epochs * len(self._corpus))

    def _step(self, stage: Stage, progress: float) -> tuple[BatchLoss, int]:
        """One optimizer step; returns the loss and the batch that fitted into memory."""
        batch = min(stage.batch, self._batch_limit or stage.batch)
        while True:
            try:
                self._optimizer.zero_grad(set_to_none=True)
                loss = batch_loss(
                    self.model, self._corpus, self._recipe, stage.window, batch, self._sampler
                )
                loss.total.backward()  # type: ignore[no-untyped-call]
                break
            except torch.OutOfMemoryError as error:
                if batch == 1:
                    raise ValueError(
                        f"the device has too little memory for one sequence of {stage.window}"
                    ) from error
            batch = self._batch_limit = max(1, batch // 2)
            self._optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            self._report(
                self._stage / len(self._recipe.stages),
                f"out of memory: batches of {batch} sequences of {stage.window} from here on",
            )
        nn.utils.clip_grad_norm_(self._parameters, self._recipe.gradient_clip)
        rate = self._learning_rate(stage, progress)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._steps += 1
        # Early averages are short, or the initial weights would dominate them.
        keep = min(self._recipe.averaging, self._steps / (self._steps + 10))
        torch._foreach_lerp_(
            self._averaged, [value.detach() for value in self._parameters], 1 - keep
        )
        return loss, batch

    def _learning_rate(self, stage: Stage, progress: float) -> float:
        """A cosine from the stage's first rate to its last, after a warm-up of the whole run."""
        span = stage.learning_rate - stage.final_learning_rate
        rate = stage.final_learning_rate + span * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return rate * min(1.0, (self._steps + 1) / max(1, self._recipe.warm_up))

    def _validate(self) -> None:
        """Measure the averaged weights, and keep them if they are the best so far."""
        own = [value.detach().clone() for value in self._parameters]
        self._assign(self._averaged)
        window = self._recipe.stages[min(self._stage, len(self._recipe.stages) - 1)].window
        result = self._validator.measure(self.model, window)
        if result.score >= self._best_score:
            self._best_score, self._best_scale = result.score, result.scale
            self._best = {key: value.clone() for key, value in self.model.state_dict().items()}
        self._assign(own)
        self.history.append(
            {
                "stage": self._stage + 1,
                "seconds": self._total_seconds,
                "vectors": self._total_vectors,
                "score": result.score,
                "scale": result.scale,
                "hits": {name: list(values) for name, values in result.hits.items()},
            }
        )
        hits = " ".join(f"{name} {100 * hit:.1f}" for name, hit in result.at_scale.items())
        self._report(
            min(1.0, (self._stage + 1) / len(self._recipe.stages)),
            f"validated after {self._total_seconds:.0f} s: Hit@5 {hits} (step x {result.scale})",
        )

    def _assign(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self._parameters, values, strict=True):
                parameter.copy_(value)

    def state(self) -> StagedState:
        """Everything that the rest of the run depends on."""
        cuda = self._device.type == "cuda"
        return StagedState(
            weights=self.model.state_dict(),
            averaged={str(number): value for number, value in enumerate(self._averaged)},
            optimizer=self._optimizer.state_dict(),
            sampler=self._sampler.get_state(),
            torch_rng=torch.get_rng_state(),
            cuda_rng=torch.cuda.get_rng_state(self._device) if cuda else torch.empty(0),
            stage=self._stage,
            steps=self._steps,
            seconds=self._seconds,
            vectors=self._vectors,
            total_seconds=self._total_seconds,
            total_vectors=self._total_vectors,
            batch_limit=self._batch_limit,
            validated=self._validated,
            history=self.history,
            best=self._best,
            best_score=self._best_score,
            best_scale=self._best_scale,
        )

    def load_state(self, state: StagedState) -> None:
        """Continue from `state`, which a run of the same recipe on the same data saved."""
        self.model.load_state_dict(state.weights)
        self._averaged = [
            state.averaged[str(number)].to(self._device) for number in range(len(self._averaged))
        ]
        self._optimizer.load_state_dict(state.optimizer)
        self._sampler.set_state(state.sampler)
        torch.set_rng_state(state.torch_rng)
        if self._device.type == "cuda" and len(state.cuda_rng):
            torch.cuda.set_rng_state(state.cuda_rng, self._device)
        self._stage, self._steps = state.stage, state.steps
        self._seconds, self._vectors = state.seconds, state.vectors
        self._total_seconds, self._total_vectors = state.total_seconds, state.total_vectors
        self._batch_limit, self._validated = state.batch_limit, state.validated
        self.history, self._best = state.history, state.best
        self._best_score, self._best_scale = state.best_score, state.best_scale
        self._report(
            self._stage / len(self._recipe.stages),
            f"resuming in stage {self._stage + 1} after {self._steps} steps",
        )
