"""Triggers and sinks: tells people what happened, by console and webhook.
"""
