"""Exports checkpoints as verified ONNX versions."""
