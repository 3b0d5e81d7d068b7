"""The functions that run on the server, under a name that changes with their text.

So replicas of two releases can use one server side by side, and none can replace the functions of
another. A library is some 10 kB and stays on the server.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class FunctionLibrary:
    """Lua code, its name on the server, and the prefix of its functions' names."""

    name: str
    code: str

    def function(self, name: str) -> bytes:
        """The name of a function on the server."""
        return f"{self.name}_{name}".encode()


@cache
def load_library() -> FunctionLibrary:
    """The library of this release."""
    text = files("service.redis").joinpath("functions.lua").read_text(encoding="utf-8")
    name = f"nextvec_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return FunctionLibrary(name, f"#!lua name={name}\n" + text.replace("'@", f"'{name}_"))
