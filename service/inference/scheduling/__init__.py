"""Scheduling: admit, queue and batch the jobs of one engine."""
