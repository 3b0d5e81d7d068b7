"""What a rollout goes through, and the gate that a canary passes before it starts."""
