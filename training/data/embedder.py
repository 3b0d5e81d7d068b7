"""Embeds sentences as unit vectors, with a sentence encoder and mean pooling."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from corpora.corpus import CorpusError
from service.manifest import sha256

_MAX_TOKENS = 384
"""The longest input that all-mpnet-base-v2 was trained on; 40 words are about 60 tokens."""


class Embedder(Protocol):
    """Embeds sentences. Embedders with the same `identity` give the same vectors."""

    @property
    def identity(self) -> dict[str, str]: ...

    def embed(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors `[n, dim]`, in the order of `sentences`."""
        ...


class SentenceEncoder:
    """A transformer loaded from `folder`, on CUDA if available, in bfloat16 if that is fast.

    Raises `CorpusError` if the folder holds no sentence encoder.
    """

    def __init__(self, folder: Path, batch: int = 64) -> None:
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._dtype = torch.bfloat16 if _fast_bfloat16(self._device) else torch.float32
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            # Eager, because the fused attention ignores MPNet's relative positions.
            self._model = AutoModel.from_pretrained(
                folder, local_files_only=True, attn_implementation="eager", dtype=self._dtype
            )
            self._sha256 = sha256(folder / "model.safetensors")
            self._name = json.loads((folder / "config.json").read_text())["_name_or_path"]
        except (OSError, ValueError, KeyError) as error:
            raise CorpusError(f"{folder}: not a sentence encoder: {error}") from error
        self._model = self._model.eval().to(self._device)
        self._batch = batch

    @property
    def identity(self) -> dict[str, str]:
        return {
            "base": self._name,
            "weights_sha256": self._sha256,
            "precision": str(self._dtype).removeprefix("torch."),
            "pooling": "mean",
        }

    @torch.inference_mode()
    def embed(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        # Sorted by length, so that batches have little padding.
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
        vectors = np.empty((len(sentences), self._model.config.hidden_size), np.float32)
        for start in range(0, len(order), self._batch):
            chosen = order[start : start + self._batch]
            vectors[chosen] = self._embed([sentences[i] for i in chosen])
        return vectors

    def _embed(self, sentences: list[str]) -> NDArray[np.float32]:
        tokens = self._tokenizer(
            sentences, padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt"
        ).to(self._device)
        hidden = self._model(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"].unsqueeze(-1)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        unit: NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=1).cpu().numpy()
        return unit


def _fast_bfloat16(device: str) -> bool:
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))
