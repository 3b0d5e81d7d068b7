"""The online service: two versions, one split, one guardrail."""
