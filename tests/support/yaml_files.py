"""YAML, read by libyaml: the parser in Python takes seconds for the files of `deploy/`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def load(text: str) -> Any:
    """The only document of `text`."""
    return yaml.load(text, Loader=_LOADER)


def load_all(text: str) -> Iterator[Any]:
    """Every document of `text`."""
    return yaml.load_all(text, Loader=_LOADER)


def dump_all(documents: Iterable[Any]) -> str:
    """The text of several documents."""
    return yaml.dump_all(documents, Dumper=_DUMPER)
