"""Canary rollouts: routing, plan, analysis, state, storage, notifications and controller."""
