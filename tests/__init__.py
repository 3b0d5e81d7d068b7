"""The test suite, as a package: tests import their helpers from `tests.support`."""
