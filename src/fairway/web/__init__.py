"""Faces over HTTP: smart git, the Prometheus query API, health.
"""
