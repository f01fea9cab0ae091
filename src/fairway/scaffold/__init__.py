"""Project detection and templates behind `fairway init`. Empty until its own issue; nothing imports it.
"""
