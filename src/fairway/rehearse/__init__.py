"""Rollouts in virtual time under faults. Empty until its own issue; nothing imports it.
"""
