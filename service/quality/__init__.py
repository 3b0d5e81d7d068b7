"""How good predictions turned out to be, told by the vectors that came next."""
