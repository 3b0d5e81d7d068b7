"""The documentation's site: its sources gathered, built and checked, and its pictures drawn."""
