"""Which variant serves whom, and whether the canary may go on."""
