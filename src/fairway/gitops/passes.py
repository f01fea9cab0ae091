"""What one pass about an Application finds out, and what it will write at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from fairway.gitops.compare import Compared
from fairway.gitops.customizations import NONE, Customizations
from fairway.gitops.operation_state import OperationState
from fairway.gitops.places import Place
from fairway.gitops.project import EVERYTHING, Project
from fairway.gitops.spec import Application
from fairway.gitops.targets import Targets
from fairway.kube.decision import Reason
from fairway.kube.objects import Key, Obj


@dataclass(slots=True)
class Pass:
    """What one pass finds out, and what it will write."""

    obj: Obj
    app: Application
    place: Place
    now: datetime
    revision: str = ""
    targets: Targets = field(default_factory=lambda: Targets((), ()))
    compared: list[Compared] = field(default_factory=list)
    state: OperationState | None = None
    conditions: list[Reason] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    wake: list[datetime | None] = field(default_factory=list)
    clear_annotations: list[str] = field(default_factory=list)
    request: Obj | None = None
    project: Project = EVERYTHING
    settings: Customizations = NONE

    @property
    def key(self) -> Key:
        return Key(self.app.namespace, self.app.name)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The targets of one rendering, as long as neither it nor the Application nor the project changes."""

    spec: Obj
    rendered: list[Obj]
    strange: list[Obj]
    """Those of a kind that the cluster did not serve: whether they have a namespace is known once it does."""
    targets: Targets
