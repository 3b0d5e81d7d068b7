"""Inference: versions on disk, their engines, and the batching of their jobs."""
