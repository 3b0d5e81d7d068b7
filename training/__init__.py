"""Data sets, recipes, training and evaluation of next-vector models."""
