"""What a run measured: request logs, percentiles, tables and plots."""
