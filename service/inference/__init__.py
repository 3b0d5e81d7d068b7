"""From versions on disk to batches on a device."""
