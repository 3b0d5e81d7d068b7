"""Open-loop and closed-loop load generation over HTTP."""
