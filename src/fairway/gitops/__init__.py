"""Application, AppProject: make the API equal to git, in Argo CD's words.

Compare by dry-run server-side apply, sync in phases and waves, hooks, health, history; and after an aborted rollout the
commit that takes the environment back.
"""

from fairway.gitops.application_set_controller import ApplicationSetController
from fairway.gitops.controller import ApplicationController
from fairway.gitops.settings import Settings
from fairway.gitops.sources import RepositoryPort

__all__ = ["ApplicationController", "ApplicationSetController", "RepositoryPort", "Settings"]
