"""`nextvec demo`: two rollouts on one machine, one rolled back and one promoted."""
