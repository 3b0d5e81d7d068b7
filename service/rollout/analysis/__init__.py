"""The guardrail analysis: it reads evidence and returns an assessment."""
