"""CUDA kernels for the Memory-Augmented GRU, and the engine that runs them."""
