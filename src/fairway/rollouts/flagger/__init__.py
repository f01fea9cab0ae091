"""Flagger's Canary: the target is the new version, a copy of it (`<name>-primary`) serves the users.

Every interval one tick: a pure function from what is seen and what was answered (webhooks, queries) to what happens next.
Upstream: fluxcd/flagger. What is different here on purpose stands in `docs/flagger.md`.
"""
