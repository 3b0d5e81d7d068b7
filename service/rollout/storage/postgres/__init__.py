"""The rollout in PostgreSQL, for a fleet of replicas. Needs `pip install 'nextvec[fleet]'`."""
