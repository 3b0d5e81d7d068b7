"""The command; `service.cli` names it."""
