"""actions/checkout: a work tree at a commit, with an `origin` from which and to which git works."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from fairway.ci.actions.builtin import ActionFailed, BuiltIn, Use
from fairway.ci.repositories import Access, basic, credentials

_QUIET_GIT = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}


async def checkout(use: Use) -> None:
    """Fetch exactly what is asked for. The default repository is the run's, the default commit the one under test."""
    repository = use.text("repository") or use.context("repository")
    is_own = repository == use.context("repository")
    access = use.host.repositories.resolve(repository)
    if access is None:
        raise ActionFailed(f"repository {repository!r} is not on this platform; push it here first, or name it in "
                           "spec.urls of a Repository")
    access = replace(access, token=use.token_for(access, write="token" in use.step.inputs or "ssh-key" in use.step.inputs))
    target = use.inside(use.text("path") or ".")
    depth = use.text("fetch-depth") or "1"
    if not depth.isdigit():
        raise ActionFailed(f"input 'fetch-depth' must be a number, not {depth!r}")
    ref = use.text("ref") or (use.context("sha") if is_own else "")
    branch = use.context("ref") if is_own and not use.text("ref") else ""
    await _make_clean(use, target)
    commit = await _fetch(use, access, target, ref, int(depth), tags=use.flag("fetch-tags"))
    await _switch(use, target, ref, branch, commit)
    await _origin(use, access, target)
    if use.text("submodules").lower() in ("true", "recursive"):
        flags = ("--recursive",) if use.text("submodules").lower() == "recursive" else ()
        await use.execute("git", "submodule", "update", "--init", *flags, cwd=target, env=_QUIET_GIT)
    use.output("commit", commit)
    use.output("ref", use.text("ref") or use.context("ref") if is_own else ref)


async def _make_clean(use: Use, target: Path) -> None:
    """What lies at the place of the checkout goes, as a fresh runner would have it."""
    if not use.flag("clean") and (target / ".git").exists():
        return
    target.mkdir(parents=True, exist_ok=True)
    for entry in target.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


async def _fetch(use: Use, access: Access, target: Path, ref: str, depth: int, *, tags: bool) -> str:
    source = access.path.as_uri() if access.path is not None else access.url
    env = {**_QUIET_GIT, **credentials(access)} if access.path is None else _QUIET_GIT
    await use.execute("git", "init", "--quiet", "--initial-branch=main", ".", cwd=target, echo=False)
    argv = ["git", "-c", "protocol.file.allow=always", "fetch", "--quiet", "--no-recurse-submodules",
            "--tags" if tags else "--no-tags"]
    if depth > 0:
        argv.append(f"--depth={depth}")
    wanted = [ref or "HEAD"] if depth > 0 else ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
    use.log(f"Fetching {(ref[:10] if _is_commit(ref) else ref) or 'the default branch'} of {access.name or access.url}")
    await use.execute(*argv, source, *wanted, cwd=target, env=env, echo=False, quiet=True)
    names = [f"{name}^{{commit}}" for name in _candidates(ref, depth)]
    for name in names:
        found = await use.execute("git", "rev-parse", "--quiet", "--verify", name, cwd=target, echo=False, quiet=True,
                                  may_fail=True)
        if found:
            return found.strip()
    raise ActionFailed(f"{ref or 'HEAD'} does not exist in {access.url}")


def _candidates(ref: str, depth: int) -> tuple[str, ...]:
    if depth > 0 or not ref:
        return ("FETCH_HEAD",)
    short = ref.removeprefix("refs/heads/")
    return (f"refs/remotes/origin/{short}", f"refs/tags/{ref.removeprefix('refs/tags/')}", ref)


async def _switch(use: Use, target: Path, ref: str, branch: str, commit: str) -> None:
    """On a branch where one is meant, so that a later push knows what it pushes; else a detached head."""
    name = branch.removeprefix("refs/heads/") if branch.startswith("refs/heads/") else ""
    if not branch and ref.startswith("refs/heads/"):
        name = ref.removeprefix("refs/heads/")
    elif not branch and ref and not _is_commit(ref) and not ref.startswith("refs/"):
        name = ref
    elif not branch and not ref:
        name = "main"
    if name:
        await use.execute("git", "checkout", "--quiet", "--force", "-B", name, commit, cwd=target, echo=False)
        await use.execute("git", "update-ref", f"refs/remotes/origin/{name}", commit, cwd=target, echo=False)
    else:
        await use.execute("git", "checkout", "--quiet", "--force", "--detach", commit, cwd=target, echo=False)
    use.log(f"HEAD is now at {commit[:10]}{f' ({name})' if name else ''}")


def _is_commit(ref: str) -> bool:
    return len(ref) in (40, 64) and all(c in "0123456789abcdef" for c in ref.lower())


async def _origin(use: Use, access: Access, target: Path) -> None:
    """`origin` with the credentials that a later `git push` needs, unless persist-credentials is false."""
    await use.execute("git", "config", "remote.origin.url", access.url, cwd=target, echo=False)
    await use.execute("git", "config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*", cwd=target,
                      echo=False)
    branch = await use.execute("git", "branch", "--show-current", cwd=target, echo=False, quiet=True)
    if branch:
        await use.execute("git", "config", f"branch.{branch}.remote", "origin", cwd=target, echo=False)
        await use.execute("git", "config", f"branch.{branch}.merge", f"refs/heads/{branch}", cwd=target, echo=False)
    if access.token:
        use.mask(access.token)
        use.mask(basic(access.token))
    if access.token and use.flag("persist-credentials"):
        await use.execute("git", "config", f"http.{access.url}.extraheader", f"AUTHORIZATION: basic "
                          f"{basic(access.token)}", cwd=target, echo=False)


CHECKOUT = BuiltIn(
    "actions/checkout",
    {"repository": "", "ref": "", "token": "", "ssh-key": "", "ssh-known-hosts": "", "ssh-strict": "true",
     "ssh-user": "git", "persist-credentials": "true", "path": "", "clean": "true", "filter": "",
     "sparse-checkout": "", "sparse-checkout-cone-mode": "true", "fetch-depth": "1", "fetch-tags": "false",
     "show-progress": "true", "lfs": "false", "submodules": "false", "set-safe-directory": "true",
     "github-server-url": ""},
    checkout,
)
