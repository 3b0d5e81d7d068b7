"""Subcommands of `nextvec`. Each module has an `app`, which `service.cli` loads when it runs."""
