"""Workflows that run here as they run at GitHub: from a push to a PipelineRun and its jobs.

Parsing, expressions, planning, running steps as processes in clean work trees, built-in actions that work offline.
"""
