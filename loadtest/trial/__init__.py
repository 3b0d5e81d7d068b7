"""`nextvec trial`: live rollouts of one version against itself, intact or degraded."""
