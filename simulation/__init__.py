"""Rollouts simulated offline with the service's own guardrails and state machine."""
