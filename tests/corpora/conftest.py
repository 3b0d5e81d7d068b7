"""The small corpus."""

from __future__ import annotations

from tests.support.corpus_fakes import small, small_file

__all__ = ["small", "small_file"]
