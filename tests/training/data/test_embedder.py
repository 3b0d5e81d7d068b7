"""The real encoder code on a tiny model: pooled, of unit length, in the caller's order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from corpora.corpus import CorpusError
from service.cli import main
from training.data.bulk_encoder import BulkEncoder
from training.data.embedder import SentenceEncoder
from training.data.tokenization import tokenize_shards

pytestmark = pytest.mark.slow

_WORDS = ["<s>", "<pad>", "</s>", "[UNK]", "the", "state", "of", "union", "is", "good", "bad"]


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two small layers with random weights."""
    # Here, so that only the process that runs these tests imports it.
    from transformers import MPNetConfig, MPNetModel, PreTrainedTokenizerFast  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    config = MPNetConfig(
        vocab_size=len(_WORDS),
        hidden_size=768,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=80,
    )
    MPNetModel(config).save_pretrained(folder)
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**described, "_name_or_path": "tiny"}))
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(_WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>").save_pretrained(folder)
    return folder


def test_sentences_come_back_in_their_order_as_unit_vectors(encoder_folder: Path) -> None:
    """Padding and the other sentences of a batch have no effect."""
    sentences = ["the state of the union is good", "bad", "the union is bad is bad is bad", "good"]
    encoder = SentenceEncoder(encoder_folder, batch=3)
    together = encoder.embed(sentences)
    alone = np.concatenate([encoder.embed([sentence]) for sentence in sentences])
    np.testing.assert_allclose(np.ones(4), np.linalg.norm(together, axis=1), atol=1e-5)
    assert 0.999 < (together * alone).sum(1).min()
    assert (together[1] @ together[3]) < 0.999


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    """The message names it."""
    with pytest.raises(CorpusError, match="not a sentence encoder"):
        SentenceEncoder(tmp_path)


def test_the_command_builds_from_a_folder_of_text(
    encoder_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Afterwards imports the vectors of the result."""
    (tmp_path / "texts").mkdir()
    for name in ("one", "two"):
        text = f"The state of the union {name} is good. The union {name} is good and bad."
        (tmp_path / "texts" / f"{name}.txt").write_text(text)
    options = ["--embedder", str(encoder_folder), "--out", str(tmp_path / "built")]
    assert 0 == main(["data", "build", str(tmp_path / "texts"), *options])
    assert "4 vectors of width 768 in 2 documents" in capsys.readouterr().out
    np.save(tmp_path / "mine.npy", np.eye(3, 768))
    arguments = ["data", "import", str(tmp_path / "mine.npy"), "--out", str(tmp_path / "taken")]
    assert 0 == main(arguments)
    assert "3 vectors of width 768 in 1 documents" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="two documents are called mine"):
        main([*arguments[:3], str(tmp_path / "mine.npy"), *arguments[3:]])


def test_a_sentence_longer_than_the_encoder_reads_is_cut(encoder_folder: Path) -> None:
    """This encoder has 80 positions, of which two are before the first token."""
    encoder = SentenceEncoder(encoder_folder)
    assert 72 == encoder.max_tokens
    sentences = ["the state " * 60, "the state " * 70]
    (tokens,) = tokenize_shards(encoder_folder, [sentences], 1, encoder.max_tokens)
    values, scale = BulkEncoder(encoder).embed(tokens)
    expected = encoder.embed(sentences)
    assert (expected[0] == expected[1]).all()
    assert 0.999 < ((values * scale[:, None]) * expected).sum(1).min()


@pytest.mark.parametrize("workers", [1, 2])
def test_shards_of_tokens_give_the_vectors_of_the_sentences(
    encoder_folder: Path, workers: int
) -> None:
    """Tokenized in this process or in others, in batches of similar length, in eight bits."""
    words = _WORDS[4:]
    sentences = [" ".join(words[i % 7] for i in range(n, n + 1 + n % 9)) for n in range(40)]
    encoder = SentenceEncoder(encoder_folder)
    shards = [sentences[:25], sentences[25:]]
    bulk = BulkEncoder(encoder)
    parts = [bulk.embed(part) for part in tokenize_shards(encoder_folder, shards, workers)]
    packed = np.concatenate([values for values, _ in parts])
    scale = np.concatenate([scales for _, scales in parts])
    expected = encoder.embed(sentences)
    assert packed.dtype == np.int8
    assert 0.999 < ((packed * scale[:, None]) * expected).sum(1).min()


def test_a_device_without_memory_gets_smaller_batches(
    encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is halved, the caller is told, and every vector is there."""
    encoder = SentenceEncoder(encoder_folder)
    sentences = ["the state of the union is good", "bad", "the union", "good is bad"]
    (tokens,) = tokenize_shards(encoder_folder, [sentences], 1)
    notices: list[str] = []
    bulk = BulkEncoder(encoder, notices.append)
    pooled = encoder.pooled

    def small(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if len(ids) > 1:
            raise torch.OutOfMemoryError
        return pooled(ids, mask)

    monkeypatch.setattr(encoder, "pooled", small)
    values, scale = bulk.embed(tokens)
    monkeypatch.undo()
    assert 0.999 < (values * scale[:, None] * encoder.embed(sentences)).sum(1).min()
    assert "out of memory" in notices[0]
