"""The Kubernetes API and what every controller needs around it.

Schema facts, the four patch kinds, admission, the store, watches and the HTTP server; one `Api` port with an embedded
and a real-cluster implementation; the clock and the virtual-time event loop; the one reconcile loop. Everything that
Fairway knows about a delivery is an object behind this port.
"""
