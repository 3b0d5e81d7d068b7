"""Drives real streams at a server and draws what came back."""
