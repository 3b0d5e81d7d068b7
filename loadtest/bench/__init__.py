"""`nextvec bench`: the service compared with the bare engine, in one run."""
