"""Fairway takes a commit to production traffic.

Each package below is one room of the house that docs/architecture.md draws. Rooms never call each other: every fact
about delivery is a Kubernetes object, and the API (`fairway.kube`) is the bus between them. `fairway.platform` is the
one place that knows which implementation stands behind which port.
"""

__version__ = "0.1.0"
