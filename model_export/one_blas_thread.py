"""Lets NumPy's linear algebra run on one thread. Import it before NumPy, which reads this once.

The products of a GRU step are too small to share: two threads wait for each other, and on a busy
machine that takes seven times as long. A value that the caller has set stays.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
