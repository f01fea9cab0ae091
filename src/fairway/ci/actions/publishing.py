"""Actions that tell or give something to the world outside. Here it is recorded with the run; nothing leaves the machine."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from fairway.ci.actions.builtin import ActionFailed, BuiltIn, Use
from fairway.ci.hash_files import select_files


def _told(what: str, *inputs: str) -> Callable[[Use], Awaitable[None]]:
    """A message or a change elsewhere that is only recorded."""

    async def run(use: Use) -> None:
        said = "; ".join(f"{name}: {' '.join(use.text(name).split())[:200]}" for name in inputs if use.text(name))
        use.neutral(f"{what} is only recorded here{f' ({said})' if said else ''}")

    return run


async def release(use: Use) -> None:
    """A release: its text and its files, below the run's artifacts."""
    tag = use.text("tag_name") or use.text("tag") or use.context("ref_name")
    folder = use.run.folders.run.artifacts / f"release-{re.sub(r'[^A-Za-z0-9._-]', '-', tag)}"
    folder.mkdir(parents=True, exist_ok=True)
    body = use.text("body")
    if use.text("body_path"):
        path = use.inside(use.text("body_path"))
        if not path.is_file():
            raise ActionFailed(f"body_path {use.text('body_path')!r} does not exist in the work tree")
        body = path.read_text(errors="replace")
    (folder / "RELEASE.md").write_text(use.run.masker.mask(f"# {use.text('name') or tag}\n\n{body}\n"))
    patterns = [*use.lines("files"), *use.listed("artifacts")]
    files = select_files(use.workspace, patterns) if patterns else []
    if patterns and not files and use.text("fail_on_unmatched_files") == "true":
        raise ActionFailed(f"no file matches {', '.join(patterns)}")
    for file in files:
        shutil.copyfile(file, folder / file.name)
    use.notice(f"release {tag} with {len(files)} file(s) is recorded in {folder.name}; nothing is published from here")
    use.output("url", folder.as_uri())
    use.output("html_url", folder.as_uri())
    use.output("id", str(zlib.crc32(tag.encode())))
    use.output("upload_url", folder.as_uri())
    use.output("assets", json.dumps([file.name for file in files]))


async def pages(use: Use) -> None:
    """A site's folder, kept as the artifact of its name."""
    source = use.inside(use.text("publish_dir") or use.text("path") or "public")
    if not source.is_dir():
        raise ActionFailed(f"the site's folder {source.relative_to(use.workspace)} does not exist")
    target = use.run.folders.run.artifacts / (use.text("name") or "github-pages")
    shutil.copytree(source, target, dirs_exist_ok=True)
    use.notice(f"the site is kept as artifact {target.name}; nothing is published from here")
    use.output("artifact_id", str(zlib.crc32(str(target).encode())))


async def configure_pages(use: Use) -> None:
    owner, _, name = use.context("repository").partition("/")
    for key, value in {"base_url": f"https://{owner}.github.io/{name}", "origin": f"https://{owner}.github.io",
                       "host": f"{owner}.github.io", "base_path": f"/{name}"}.items():
        use.output(key, value)


async def deploy_pages(use: Use) -> None:
    owner, _, name = use.context("repository").partition("/")
    use.neutral("the site stays an artifact of the run")
    use.output("page_url", f"https://{owner}.github.io/{name}/")


async def pull_request(use: Use) -> None:
    """Changes of the work tree as a commit on a branch of its own, pushed to origin; there is nobody to ask to merge it."""
    folder = use.inside(use.text("path") or ".")
    branch = use.text("branch") or "create-pull-request/patch"
    changed = await use.execute("git", "status", "--porcelain", cwd=folder, echo=False, quiet=True)
    if not changed.strip():
        use.log("nothing has changed: no branch is made")
        use.output("pull-request-operation", "none")
        return
    message = use.text("commit-message") or "[create-pull-request] automated change"
    who = ("-c", "user.name=fairway", "-c", "user.email=fairway@localhost")
    for argv in (("checkout", "--quiet", "-B", branch), ("add", "--all", *(use.lines("add-paths") or ["."])),
                 ("commit", "--quiet", "-m", message), ("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")):
        await use.execute("git", *who, *argv, cwd=folder)
    use.notice(f"branch {branch} is pushed: {use.text('title') or message}")
    use.output("pull-request-branch", branch)
    use.output("pull-request-operation", "created")
    use.output("pull-request-head-sha", await use.execute("git", "rev-parse", "HEAD", cwd=folder, echo=False, quiet=True))


async def pypi(use: Use) -> None:
    """What would be uploaded, looked at."""
    folder = use.inside(use.text("packages-dir") or use.text("packages_dir") or "dist")
    files = sorted(path for path in folder.glob("*") if path.suffix in (".whl", ".gz")) if folder.is_dir() else []
    if not files:
        raise ActionFailed(f"there is nothing to publish in {folder.name}/")
    use.neutral(f"{', '.join(file.name for file in files)} would be published; nothing leaves this machine")


async def attest(use: Use) -> None:
    subject = use.text("subject-path") or use.text("subject-name")
    path = use.run.folders.run.artifacts / "attestations" / f"{zlib.crc32(subject.encode())}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"subject": subject, "digest": use.text("subject-digest"), "builder": "fairway",
                                "source": f"{use.context('repository')}@{use.context('sha')}"}))
    use.neutral(f"provenance of {subject} is recorded unsigned: there is no identity provider here")
    use.output("bundle-path", str(path))


async def pre_commit(use: Use) -> None:
    program = shutil.which("pre-commit", path=use.run.search_path())
    if program is None:
        await use.execute("python3", "-m", "pip", "install", "--quiet", "pre-commit")
    await use.execute("pre-commit" if program is None else program, "run", "--show-diff-on-failure", "--color=never",
                      *(use.text("extra_args") or "--all-files").split())


async def golangci(use: Use) -> None:
    if shutil.which("golangci-lint", path=use.run.search_path()) is None:
        raise ActionFailed("golangci-lint is not on this machine's PATH; install it, or leave the step out with --stub "
                           "golangci/golangci-lint-action")
    await use.execute("golangci-lint", "run", *use.text("args").split(), cwd=use.inside(use.text("working-directory") or "."))


async def goreleaser(use: Use) -> None:
    if shutil.which("goreleaser", path=use.run.search_path()) is None:
        use.neutral("goreleaser is not on this machine: nothing was built")
        return
    words = [word for word in use.text("args").split() if word not in ("--skip=publish", "--skip-publish")]
    await use.execute("goreleaser", *words, "--skip=publish", cwd=Path(use.inside(use.text("workdir") or ".")))


def _any(name: str, work: Callable[[Use], Awaitable[None]]) -> BuiltIn:
    return BuiltIn(name, {}, work, takes_more=True)


PUBLISHING = (
    *(_any(name, release) for name in ("softprops/action-gh-release", "ncipollo/release-action", "actions/create-release")),
    _any("peaceiris/actions-gh-pages", pages), _any("actions/upload-pages-artifact", pages),
    _any("jamesives/github-pages-deploy-action", pages),
    _any("actions/configure-pages", configure_pages), _any("actions/deploy-pages", deploy_pages),
    _any("peter-evans/create-pull-request", pull_request), _any("pypa/gh-action-pypi-publish", pypi),
    *(_any(f"actions/attest{kind}", attest) for kind in ("", "-build-provenance", "-sbom")),
    _any("pre-commit/action", pre_commit), _any("golangci/golangci-lint-action", golangci),
    _any("goreleaser/goreleaser-action", goreleaser),
    *(_any(name, _told("a message to Slack", "text", "payload", "status", "slack-message", "channel-id"))
      for name in ("slackapi/slack-github-action", "8398a7/action-slack", "rtcamp/action-slack-notify")),
    _any("getsentry/action-release", _told("a release at Sentry", "version", "environment")),
    *(_any(name, _told("housekeeping of issues and pull requests")) for name in (
        "actions/stale", "actions/labeler", "dessant/lock-threads", "actions/first-interaction",
        "actions/add-to-project", "peter-evans/create-or-update-comment")),
)
