"""The guardrails, one in each file; `suite` runs them together. Pure: no clock, no I/O."""
