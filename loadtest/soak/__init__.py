"""A soak test: mixed load for minutes or hours, and whether anything grows."""
