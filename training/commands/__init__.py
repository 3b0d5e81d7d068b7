"""What the command line runs: `add_arguments(parser)` and `run(args)`, a command a file."""
