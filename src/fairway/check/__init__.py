"""Static verification of the whole chain, one rule per file. Empty until its own issue; nothing imports it.
"""
