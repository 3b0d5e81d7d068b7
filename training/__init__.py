"""Corpus, recipes, training and evaluation of next-vector models."""
