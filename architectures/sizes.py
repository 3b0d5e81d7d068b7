"""The sizes of the networks and of the vectors. Needs neither PyTorch nor NumPy."""

from __future__ import annotations

DIM = 768
"""Width of a vector."""
HIDDEN = 512
LAYERS = 4
SLOTS = 2048
EPSILON = 1e-5
"""Added to the variance by every LayerNorm; PyTorch's default."""
SMALLEST_NORM = 1e-12
"""The divisor of shorter vectors, as in `torch.nn.functional.normalize`."""
