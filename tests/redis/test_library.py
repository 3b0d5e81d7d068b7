"""The name of the functions on the server."""

from __future__ import annotations

import re

from service.redis.library import load_library


def test_the_name_changes_with_the_text():
    """So a server can have the functions of two releases."""
    library = load_library()
    assert re.fullmatch(r"nextvec_[0-9a-f]{12}", library.name)
    assert library.code.startswith(f"#!lua name={library.name}\n")
    assert library.function("claim") == f"{library.name}_claim".encode()
    assert f"'{library.name}_claim'" in library.code
    assert "'@" not in library.code
