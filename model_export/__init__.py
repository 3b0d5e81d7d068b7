"""Checkpoints in, verified ONNX versions out."""
