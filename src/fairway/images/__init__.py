"""OCI images without a daemon: build, tag, layout, unpack, inspect.

Reproducible by construction (same input, same digest). The embedded registry is an OCI image layout on disk.
"""
