"""The rollout plan, and the gate before a rollout starts."""
