"""Helm charts to objects, as `helm template` prints them; the engine never runs in this process.

A chart is copied out of its tree into a folder of its own, rendered there by the SDK in a limited worker process or by the
`helm` command, and what comes back is read like any other manifest: CRDs first, hooks last and with their annotations.
"""

from fairway.manifests.helm.engine import HelmEngine, engine_on_this_machine
from fairway.manifests.helm.options import HelmOptions, Parameter
from fairway.manifests.helm.render import HelmCharts, render_chart

__all__ = ["HelmCharts", "HelmEngine", "HelmOptions", "Parameter", "engine_on_this_machine", "render_chart"]
