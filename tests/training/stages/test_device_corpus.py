"""Sequences and candidates that are drawn from a corpus on the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corpora.packed_corpus import PackedCorpus
from training.stages.device_corpus import DeviceCorpus, document_weights


def test_sequences_lie_in_documents_that_are_long_enough(packed: PackedCorpus) -> None:
    corpus = DeviceCorpus(packed, torch.device("cpu"), 0.5)
    generator = torch.Generator().manual_seed(0)
    batch = corpus.draw_sequences(10, 500, generator)
    owner = torch.from_numpy(packed.document_id.astype(np.int64))[batch.positions]
    long = batch.document != 1
    assert batch.positions.shape == (11, 500)
    assert (owner[:, long] == batch.document[long]).all()
    assert set(batch.positions[0, batch.document == 0].tolist()) == {*range(20)}
    assert batch.positions.max() == 60 - 1
    # A sequence of the short document runs on; the next one's first vector is no target.
    crossing = batch.positions[1:, batch.document == 1][:, 0]
    assert corpus.is_target(crossing).tolist() == [True] * 4 + [False] + [True] * 5


def test_vectors_are_of_unit_length_and_candidates_of_their_document(packed: PackedCorpus) -> None:
    corpus = DeviceCorpus(packed, torch.device("cpu"), 0.0)
    generator = torch.Generator().manual_seed(0)
    document = torch.tensor([0, 1, 2])
    own = corpus.draw_within(document, 50, generator)
    assert corpus.is_of(own, document.expand(50, 3)).all()
    torch.testing.assert_close(corpus.vectors(own).norm(dim=-1), torch.ones(50, 3))


def test_balance_evens_out_the_genres(packed: PackedCorpus) -> None:
    assert document_weights(packed, 0.0).tolist() == [30, 5, 25]
    even = document_weights(packed, 1.0)
    assert even[0] == pytest.approx(even[1] + even[2])
