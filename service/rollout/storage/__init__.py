"""The rollout's record and audit log on disk."""
