"""Builds data sets from text, and imports existing vectors."""
