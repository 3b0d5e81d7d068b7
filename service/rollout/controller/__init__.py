"""The controller that runs a rollout."""
