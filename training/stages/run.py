"""A staged run from a packed corpus to a model and its record."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from architectures.memory_augmented_gru import SLOTS, MemoryAugmentedGRU
from architectures.model import NextVectorModel
from corpora.packed_corpus import PackedCorpus
from training.initialization import initialize_gru, initialize_means
from training.running_centre import fit_filter_bank, running_centre_gru
from training.running_centre_checkpoint import LENGTH, SHARE, WHITENING
from training.stages.device_corpus import DeviceCorpus, draw_rows
from training.stages.recipe import StagedRecipe
from training.stages.split import StagedSplit
from training.stages.state import StagedStore
from training.stages.trainer import Report, StagedTrainer
from training.stages.validation import Validator

POOL = 1000
"""Positions of each validation set that are scored."""

_SAMPLE = 50_000
"""Vectors that give the centre and the principal directions."""


@dataclass(frozen=True)
class StagedResult:
    """The trained model, and what happened on the way."""

    model: NextVectorModel
    history: list[dict[str, Any]]
    scale: float
    seconds: float
    device: str

    def as_json(self, recipe: StagedRecipe) -> dict[str, object]:
        return {
            "recipe": asdict(recipe),
            "device": self.device,
            "seconds": self.seconds,
            "step_scale": self.scale,
            "validations": self.history,
        }


def train_staged(
    split: StagedSplit,
    recipe: StagedRecipe,
    device: torch.device,
    report: Report,
    start: NextVectorModel | None = None,
    store: StagedStore | None = None,
) -> StagedResult:
    """Train by `recipe` on `device`, from `start`'s weights or newly initialized ones.

    Resumes from the state in `store`, if there is one. Raises `ResumeError`; raises `ValueError`
    if the vectors are too few for a window or the loss is not finite.
    """
    state = store.load() if store else None
    model = start or initial_model(split.train, recipe)
    validator = Validator(split.validation, device, POOL)
    corpus = DeviceCorpus(split.train, device, recipe.genre_balance)
    trainer = StagedTrainer(model, corpus, recipe, validator, report)
    if state is not None:
        trainer.load_state(state)
    trainer.run(store)
    model = trainer.finish().cpu()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return StagedResult(model, trainer.history, trainer.best_scale, trainer.seconds, name)


def initial_model(train: PackedCorpus, recipe: StagedRecipe) -> NextVectorModel:
    """The untrained model; its memory or basis comes from vectors drawn by documents' weights."""
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    plain = (recipe.architecture, recipe.initial) == (MemoryAugmentedGRU.ARCHITECTURE, "repeat")
    count = SLOTS if plain else _SAMPLE
    vectors = train.vectors(draw_rows(train, count, recipe.genre_balance, rng))
    if recipe.initial == "running-centre":
        bank = fit_filter_bank(vectors)
        mix = bank.initial_mix(SHARE, WHITENING)
        return running_centre_gru(bank, mix, LENGTH, vectors[:: len(vectors) // SLOTS][:SLOTS])
    if recipe.architecture == MemoryAugmentedGRU.ARCHITECTURE:
        return initialize_gru(vectors, recipe.gate_bias)
    return initialize_means(
        vectors, recipe.decays, recipe.width, recipe.whitening, recipe.initial_scale
    )


def choose_device(name: str) -> torch.device:
    """`auto`, `cuda` or `cpu`. Raises `ValueError` if there is no CUDA device to use."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("PyTorch finds no CUDA device here; pass --device cpu")
    return torch.device(name)
