"""Kustomize and plain YAML to objects, and the image write-back that changes one line.

Pure rendering over a file tree that somebody else read; linear in the number of objects; comments survive write-back.
"""
