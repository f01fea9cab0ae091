"""Scrape, series store and PromQL; or a remote Prometheus behind the same port.

Finds targets in the API (annotations, ServiceMonitor), keeps samples in columns, evaluates PromQL, serves the query API
that Grafana and analysis use.
"""
