"""Kernels of our own for the GRU on NVIDIA GPUs, and the engine that runs them."""
