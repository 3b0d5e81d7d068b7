"""Evidence from the metrics, and the verdict on it."""
