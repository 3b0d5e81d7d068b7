"""Vector streams: their files, the shipped sample, candidate pools and retrieval metrics."""
