"""Rollouts and Canaries in virtual time under faults: the real controllers, with simulated pods, proxy and users around them.

A second judge, which knows the promises and not the planner, looks at every change.
"""
