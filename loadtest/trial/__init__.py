"""The verdict tried live: the same version twice, or one of the two slowed down."""
