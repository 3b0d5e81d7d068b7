"""Controlled experiments: two arms that differ in one setting, and a verdict."""
