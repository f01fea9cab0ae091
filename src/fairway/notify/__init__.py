"""Triggers and sinks: tells people what happened, by console and webhook.

`decide` reads from an object what people should hear of and what they have heard already; the record stands on the object
itself, so that a restart sends nothing twice. `sinks` deliver.
"""
