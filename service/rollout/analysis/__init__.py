"""Guardrail analysis: evidence in, an assessment out."""
