"""What a rollout's record says to people: how it stands, and what happens next. Pure."""
