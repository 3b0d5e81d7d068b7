"""Training in stages, on a GPU or on the CPU, on a corpus that stays in eight bits."""
