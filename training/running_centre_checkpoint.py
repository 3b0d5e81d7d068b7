"""Makes the shipped Phase-2 or Phase-3 from a corpus.

    python -m training.running_centre_checkpoint phase-2 --data corpus.npz --out phase-2.safetensors

The weights follow from the statistics of the documents that `--hold-out eras` leaves to training.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from architectures import checkpoint
from architectures.memory_augmented_gru import SLOTS
from corpora.corpus import CorpusError
from corpora.packed_corpus import open_corpus
from service.manifest import sha256
from training import held_out
from training.running_centre import fit_filter_bank, running_centre_gru

WINDOWS = {"phase-2": 500, "phase-3": 1000}

_BANKS: dict[str, dict[str, float]] = {
    "phase-2": {"lead": 32, "slow_decay": 0.99},
    "phase-3": {"lead": 64, "slow_decay": 0.995},
}

SHARE, WHITENING, LENGTH = 0.35, 0.35, 2.5
"""Of the slow mean; of the principal directions; of the step."""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the checkpoint. The same corpus gives the same weights, but for rounding."""
    parser = argparse.ArgumentParser(
        prog="python -m training.running_centre_checkpoint", description=__doc__
    )
    parser.add_argument("name", choices=sorted(WINDOWS))
    parser.add_argument("--data", type=Path, required=True, help="the corpus (.npz)")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint (.safetensors)")
    args = parser.parse_args(argv)
    try:
        packed = open_corpus(args.data)
    except CorpusError as error:
        raise SystemExit(f"python -m training.running_centre_checkpoint: {error}") from error
    train = packed.pack(~held_out.mask(packed.documents, "eras"))
    bank = fit_filter_bank(train.vectors(np.arange(0, len(train), 2)), **_BANKS[args.name])
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(len(train), SLOTS, replace=len(train) < SLOTS))
    mix = bank.initial_mix(SHARE, WHITENING)
    model = running_centre_gru(bank, mix, LENGTH, train.vectors(rows))
    metadata = {
        "recipe": f"{args.name}-centred",
        "window": str(WINDOWS[args.name]),
        "step_scale": "1.0",
        **held_out.metadata(train, "eras", sha256(args.data)),
    }
    checkpoint.save(model, args.out, metadata)
    print(f"{args.out}: from {len(train)} vectors of {len(train.documents)} documents")


if __name__ == "__main__":
    main()
