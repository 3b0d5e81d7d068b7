"""What a run measured: percentiles, tables and plots."""
