"""The fleet: the replicas that share one rollout and one set of sessions."""
