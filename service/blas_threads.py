"""One thread for numpy's OpenBLAS. Imported before numpy, which reads it once.

OpenBLAS wakes a thread for each further core even for small products, and these then spin: scoring
64 predictions took 40 times the CPU on a busy machine. The engines have threads of their own.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
