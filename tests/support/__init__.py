"""Fakes, servers and builders that several tests share."""
