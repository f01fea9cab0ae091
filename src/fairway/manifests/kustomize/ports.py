"""What a build needs from outside of its own tree, declared here: bases of other repositories, and charts.

Both are off unless the caller hands something in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fairway.kube.objects import Obj
from fairway.manifests.files import FileTree
from fairway.manifests.kustomize.remote import RemoteAddress


class RemoteBases(Protocol):
    """Other repositories. Whoever fills it decides which are allowed; a refusal is a `ManifestError`."""

    def tree(self, address: RemoteAddress) -> FileTree: ...


class Charts(Protocol):
    """Renders an entry of `helmCharts:` from files of the tree."""

    def objects(self, files: FileTree, chart_folder: str, entry: Mapping[str, Any], values: Mapping[str, Any]) -> list[Obj]:
        """Objects of the chart in `chart_folder`; `entry` holds the options, `values` those of all files, merged."""
        ...


@dataclass(frozen=True, slots=True)
class Outside:
    """The ports of one build, and which field values of the kustomization at its top are overruled.

    `overrides` holds what an Application says over the file: namespace, namePrefix, nameSuffix, commonLabels,
    commonAnnotations, labels, images, replicas, patches, components, in the words of a kustomization.
    """

    remotes: RemoteBases | None = None
    charts: Charts | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
