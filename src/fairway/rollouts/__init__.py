"""Rollout, AnalysisTemplate, AnalysisRun: go on, wait, or stop, in the words of Argo Rollouts.

Replica arithmetic, steps, weights, analysis by metrics, abort and promote. The decision is one pure function; the hands
only carry it out.
"""
