"""Actions that Fairway has itself, so that the usual workflows run without network."""

from fairway.ci.actions.artifacts import DOWNLOAD, UPLOAD
from fairway.ci.actions.build_push import BUILD_PUSH
from fairway.ci.actions.builtin import NOTHING_OFFLINE, BuiltIn, Host, Offline, Use
from fairway.ci.actions.cache import CACHE, CACHE_RESTORE, CACHE_SAVE
from fairway.ci.actions.checkout import CHECKOUT
from fairway.ci.actions.clouds import CLOUDS
from fairway.ci.actions.docker import LOGIN, SETUP_BUILDX, SETUP_QEMU
from fairway.ci.actions.github_script import GITHUB_SCRIPT
from fairway.ci.actions.metadata import METADATA
from fairway.ci.actions.paths_filter import PATHS_FILTER
from fairway.ci.actions.publishing import PUBLISHING
from fairway.ci.actions.reports import REPORTS
from fairway.ci.actions.setup_python import SETUP_PYTHON
from fairway.ci.actions.setup_uv import SETUP_UV
from fairway.ci.actions.toolchains import TOOLCHAINS

BUILT_IN: dict[str, BuiltIn] = {
    action.name: action
    for action in (
        CHECKOUT, SETUP_PYTHON, SETUP_UV, CACHE, CACHE_RESTORE, CACHE_SAVE, UPLOAD, DOWNLOAD, LOGIN, SETUP_BUILDX,
        SETUP_QEMU, METADATA, BUILD_PUSH, GITHUB_SCRIPT, PATHS_FILTER, *TOOLCHAINS, *CLOUDS, *REPORTS, *PUBLISHING,
    )
}

__all__ = ["BUILT_IN", "NOTHING_OFFLINE", "BuiltIn", "Host", "Offline", "Use"]
