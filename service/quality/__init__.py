"""Online quality: predictions are scored by the vectors that come next."""
