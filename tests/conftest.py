"""What all tests share: async tests run on asyncio; tests may import `fakes`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says more of the machine than of the code.
settings.register_profile("nextvec", deadline=None)
settings.load_profile("nextvec")

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
