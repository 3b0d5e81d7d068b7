"""One thing varied, the rest held: Hit@5 against it, for every model and every rule."""
