"""Quality gates over reports: coverage, JUnit, SARIF.

A threshold is met, missed, or unknown; unknown (a missing, unreadable, empty or stale report) blocks. `spec` is what users
write, `decide` the verdict over texts that `gather` read, `show` how it is printed.
"""
