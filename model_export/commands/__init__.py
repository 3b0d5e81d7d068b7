"""Commands of `nextvec` that need torch and the exporter."""
