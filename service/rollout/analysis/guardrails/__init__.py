"""The guardrails, one a file; `suite` runs them together. Pure: no clock, no I/O."""
