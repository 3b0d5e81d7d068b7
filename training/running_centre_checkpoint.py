"""Makes the shipped Phase-2, Phase-3 or Phase-3c from a corpus.

    python -m training.running_centre_checkpoint phase-2 --data corpus.npz --out phase-2.safetensors

The weights follow from the statistics of the documents that `--hold-out eras` leaves to training.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from architectures import checkpoint
from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import SLOTS, MemoryAugmentedGRU
from architectures.model import NextVectorModel
from corpora.corpus import CorpusError
from corpora.packed_corpus import PackedCorpus, open_corpus
from service.manifest import sha256
from training import held_out
from training.initialization import initialize_means
from training.running_centre import fit_filter_bank, running_centre_gru
from training.stages.device_corpus import draw_rows
from training.stages.split import of_genre

WINDOWS = {"phase-2": 500, "phase-3": 1000, "phase-3c": 1000}

_BANKS: dict[str, dict[str, float]] = {
    "phase-2": {"lead": 32, "slow_decay": 0.99},
    "phase-3": {"lead": 64, "slow_decay": 0.995},
}

SHARE, WHITENING, LENGTH = 0.35, 0.35, 2.5
"""Of the slow mean; of the principal directions; of the step."""


_DECAYS, _SCALE = (0.6, 0.8, 0.93, 0.998), (0.5, 1.0, 0.5, 0.5, -0.7)
"""Of Phase-3c's means; of the last vector and the means. The slowest is the text's own centre, and
its negative scale takes it away."""

_WIDTH, _MEANS_WHITENING, _SAMPLE = 512, 0.2, 25_000
"""Of Phase-3c: principal directions, their whitening, and the vectors that give them."""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the checkpoint. The same corpus gives the same weights, but for rounding."""
    parser = argparse.ArgumentParser(
        prog="python -m training.running_centre_checkpoint", description=__doc__
    )
    parser.add_argument("name", choices=sorted(WINDOWS))
    parser.add_argument("--data", type=Path, required=True, help="the corpus (.npz)")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint (.safetensors)")
    parser.add_argument(
        "--hold-out-genre", action="append", default=[], help="a genre or source to leave out"
    )
    args = parser.parse_args(argv)
    try:
        train = _training_documents(open_corpus(args.data), args.hold_out_genre)
    except CorpusError as error:
        raise SystemExit(f"python -m training.running_centre_checkpoint: {error}") from error
    model: NextVectorModel = (
        _decayed_means(train) if args.name == "phase-3c" else _gru(train, args.name)
    )
    metadata = {
        "recipe": f"{args.name}-centred",
        "window": str(WINDOWS[args.name]),
        "step_scale": "1.0",
        **held_out.metadata(train, "eras", sha256(args.data)),
    }
    checkpoint.save(model, args.out, metadata)
    print(f"{args.out}: from {len(train)} vectors of {len(train.documents)} documents")


def _training_documents(packed: PackedCorpus, genres: Sequence[str]) -> PackedCorpus:
    """Neither every eighth document nor `genres`. Raises `CorpusError` if nothing is left."""
    outside = held_out.mask(packed.documents, "eras")
    for genre in genres:
        outside |= of_genre(packed, genre)
    if outside.all():
        raise CorpusError("no document is left; hold out fewer genres")
    return packed.pack(~outside)


def _gru(train: PackedCorpus, name: str) -> MemoryAugmentedGRU:
    """A Memory-Augmented GRU that computes the running-centre rule."""
    bank = fit_filter_bank(train.vectors(np.arange(0, len(train), 2)), **_BANKS[name])
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(len(train), SLOTS, replace=len(train) < SLOTS))
    mix = bank.initial_mix(SHARE, WHITENING)
    return running_centre_gru(bank, mix, LENGTH, train.vectors(rows))


def _decayed_means(train: PackedCorpus) -> DecayedMeans:
    """Decayed Means around the text's own centre; every genre counts as much as every other."""
    rows = draw_rows(train, _SAMPLE, 1.0, np.random.default_rng(0))
    vectors = train.vectors(rows)
    return initialize_means(vectors, _DECAYS, _WIDTH, _MEANS_WHITENING, _SCALE)


if __name__ == "__main__":
    main()
