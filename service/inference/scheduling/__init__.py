"""Scheduling for one engine: `admission` → `job_queue` → `batch`, driven by `scheduler`."""
