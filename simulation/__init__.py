"""Rollouts played offline through the service's own guardrail and state machine."""
