"""`nextvec bench`: the service beside the bare engine, in one run."""
