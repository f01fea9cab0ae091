"""Feature flags, OpenFeature-compatible. Empty until its own issue; nothing imports it.
"""
