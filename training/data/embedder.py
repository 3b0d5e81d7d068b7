"""Embeds sentences as unit vectors, with a sentence encoder and mean pooling."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from corpora.corpus import CorpusError
from service.manifest import sha256
from training.data.tokenization import MAX_TOKENS


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
        # Its import takes seconds, and a module that only names an embedder needs none.
        from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415
        from transformers.utils import logging  # noqa: PLC0415

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.folder = folder
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._dtype = torch.bfloat16 if _fast_bfloat16(self.device) else torch.float32
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
        self._model = self._model.eval().to(self.device)
        self._batch = batch

    @property
    def identity(self) -> dict[str, str]:
        return {
            "base": self._name,
            "weights_sha256": self._sha256,
            "precision": str(self._dtype).removeprefix("torch."),
            "pooling": "mean",
        }

    @property
    def dim(self) -> int:
        """The width of the vectors."""
        return int(self._model.config.hidden_size)

    @property
    def max_tokens(self) -> int:
        """The longest input. Padding to a multiple of eight still has positions of its own."""
        # Some architectures count positions from behind the padding token.
        places = self._model.config.max_position_embeddings - self.pad_token - 1
        return min(MAX_TOKENS, int(places) // 8 * 8)

    @property
    def pad_token(self) -> int:
        return int(self._tokenizer.pad_token_id)

    @torch.inference_mode()
    def embed(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        # Sorted by length, so that batches have little padding.
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
        vectors = np.empty((len(sentences), self.dim), np.float32)
        for start in range(0, len(order), self._batch):
            chosen = order[start : start + self._batch]
            vectors[chosen] = self._embed([sentences[i] for i in chosen])
        return vectors

    def _embed(self, sentences: list[str]) -> NDArray[np.float32]:
        tokens = self._tokenizer(
            sentences,
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        ).to(self.device)
        unit: NDArray[np.float32] = (
            self.pooled(tokens["input_ids"], tokens["attention_mask"]).cpu().numpy()
        )
        return unit

    def pooled(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors `[n, dim]` of padded `tokens` `[n, length]`; `mask` marks the real ones."""
        hidden = self._model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        real = mask.unsqueeze(-1)
        # In float32: the mean of a long sentence loses digits in bfloat16.
        mean = (hidden.float() * real).sum(1) / real.sum(1)
        return F.normalize(mean, dim=1)


def _fast_bfloat16(device: str) -> bool:
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))
