"""The example's files, and pushing them with real git as its developers would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import fairway
from fairway.cli.errors import CommandError

VERSIONS = ("1.0.0", "1.1.0", "1.2.0")
MESSAGES = {
    "1.0.0": "Orders over HTTP",
    "1.1.0": "Orders may carry a note",
    "1.2.0": "An offer beside every list of orders",
}
APP_URL = "https://git.example.com/shop/app.git"
DEPLOY_URL = "https://git.example.com/shop/deploy.git"


def example_folder() -> Path:
    """`examples/shop`: inside the installed package, or beside the source tree."""
    package = Path(fairway.__file__).parent
    for folder in (package / "examples" / "shop", package.parents[1] / "examples" / "shop"):
        if (folder / "app" / "pyproject.toml").is_file():
            return folder
    raise CommandError("the example service is not part of this installation",
                       mend="install fairway from its wheel, or run make demo in its source tree")


@dataclass(frozen=True, slots=True)
class Developer:
    """A work tree and the remote it pushes to. Git sees no configuration but what is given here."""

    tree: Path
    remote: str
    token: str

    def begin(self) -> None:
        self.tree.mkdir(parents=True, exist_ok=True)
        self._git("init", "--quiet", "--initial-branch=main")

    def commit_and_push(self, message: str) -> str:
        """The commit's id. The push itself goes over smart HTTP with the token as password."""
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)
        self._git("push", "--quiet", self._with_token(), "HEAD:refs/heads/main")
        return self._git("rev-parse", "HEAD").strip()

    def pull(self) -> None:
        self._git("pull", "--quiet", "--rebase", self._with_token(), "main")

    def _with_token(self) -> str:
        url = urlsplit(self.remote)
        return url._replace(netloc=f"developer:{self.token}@{url.netloc}").geturl()

    def _git(self, *arguments: str) -> str:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.tree), "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": "developer", "GIT_AUTHOR_EMAIL": "developer@example.com",
            "GIT_COMMITTER_NAME": "developer", "GIT_COMMITTER_EMAIL": "developer@example.com",
        }  # fmt: skip
        done = subprocess.run(["git", *arguments], cwd=self.tree, env=environment, capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.strip().replace(self.token, "***")
            raise CommandError(f"git {arguments[0]} failed: {said}")
        return done.stdout


def lay_out(version: str, tree: Path) -> None:
    """The application's tree at this version: the base, with every change up to it laid over."""
    example = example_folder()
    if version == VERSIONS[0]:
        shutil.copytree(example / "app", tree, dirs_exist_ok=True)
    else:
        shutil.copytree(example / "changes" / version, tree, dirs_exist_ok=True)


def lay_out_deployment(tree: Path, *, pauses: bool) -> None:
    """The deployment repository's tree; without `pauses` the steps follow each other at once (for measuring)."""
    shutil.copytree(example_folder() / "deploy", tree, dirs_exist_ok=True)
    if not pauses:
        quick = tree / "components" / "quick" / "kustomization.yaml"
        quick.write_text(re.sub(r"^ *- pause: .*\n", "", quick.read_text(), flags=re.MULTILINE))
