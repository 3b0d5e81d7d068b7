"""Engines: run one batch of one version on one device."""
