"""Quality gates over reports: coverage, JUnit, SARIF.

A threshold is met, missed, or unknown; unknown (a missing or unreadable report) blocks.
"""
