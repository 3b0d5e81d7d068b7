"""HTTP: one router a file, and the only place that knows a status code."""
