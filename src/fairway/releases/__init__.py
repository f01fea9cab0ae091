"""Release objects: what was deployed where, when, by which commit, and how it ended; DORA from that record.
"""
