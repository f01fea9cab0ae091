"""Runs the conformance cases of the projects that Fairway is compatible with; see `python -m tests.conformance --help`."""
