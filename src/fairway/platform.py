"""The only composition root: which implementation stands behind each port."""
