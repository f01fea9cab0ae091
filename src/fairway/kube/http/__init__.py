"""The HTTP face of the Kubernetes API: what kubectl and every other client speaks, over any `Api`."""
