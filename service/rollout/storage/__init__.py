"""The rollout's record, audit log and delivery cursors in SQLite."""
