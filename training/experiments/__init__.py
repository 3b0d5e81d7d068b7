"""Two arms from one start that differ by one thing, and a verdict that carries its interval."""
