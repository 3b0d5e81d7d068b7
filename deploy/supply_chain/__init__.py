"""Locks, audit and bill of materials of a release."""
