"""Bare repositories, smart HTTP by git's own http-backend, and the git port.

Poll a ref, read a tree at a commit, commit a change without a work tree, push it, and retry a lost race. Knows nothing
of Kubernetes objects.
"""
