"""The network definitions, and the checkpoint files that hold their weights."""
