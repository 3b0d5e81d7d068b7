"""Load generation from real streams: load tests, the demo, the benchmark and trials."""
