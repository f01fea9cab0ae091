"""Helm charts to objects, as `helm template` prints them; the engine never runs in this process.

A chart is copied out of its tree into a folder of its own, rendered there by the SDK in a limited worker process or by the
`helm` command, and what comes back is read like any other manifest: CRDs first, hooks last and with their annotations.

`options` says how, `engine` who, `render` is the way from one to the other. Nothing is imported here: a build without a chart
must not wait for what charts need.
"""
