"""Measurements, run by `make bench`. Ratios against a real peer in the same run where there is one; never asserted."""
