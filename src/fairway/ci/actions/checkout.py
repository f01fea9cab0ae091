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
    fresh = await _make_clean(use, target)
    commit = await _fetch(use, access, target, ref, int(depth), tags=use.flag("fetch-tags"))
    name = await _switch(use, target, ref, branch, commit)
    await _configure(use, target, _origin(use, access, name), fresh=fresh)
    if use.text("submodules").lower() in ("true", "recursive"):
        flags = ("--recursive",) if use.text("submodules").lower() == "recursive" else ()
        await use.execute("git", "submodule", "update", "--init", *flags, cwd=target, env=_QUIET_GIT)
    use.output("commit", commit)
    use.output("ref", use.text("ref") or use.context("ref") if is_own else ref)


async def _make_clean(use: Use, target: Path) -> bool:
    """What lies at the place of the checkout goes, as a fresh runner would have it; False where a repository stays."""
    if not use.flag("clean") and (target / ".git").exists():
        return False
    target.mkdir(parents=True, exist_ok=True)
    for entry in target.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return True


async def _fetch(use: Use, access: Access, target: Path, ref: str, depth: int, *, tags: bool) -> str:
    source = access.path.as_uri() if access.path is not None else access.url
    env = {**_QUIET_GIT, **credentials(access)} if access.path is None else _QUIET_GIT
    await use.execute("git", "init", "--quiet", "--initial-branch=main", ".", cwd=target, echo=False)
    argv = ["git", "-c", "protocol.file.allow=always", "-c", "maintenance.auto=false", "fetch", "--quiet",
            "--no-recurse-submodules", "--tags" if tags else "--no-tags"]
    if depth > 0:
        argv.append(f"--depth={depth}")
    wanted = [ref or "HEAD"] if depth > 0 else ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
    use.log(f"Fetching {(ref[:10] if _is_commit(ref) else ref) or 'the default branch'} of {access.name or access.url}")
    await use.execute(*argv, source, *wanted, cwd=target, env=env, echo=False, quiet=True)
    if depth > 0 and _is_commit(ref):
        return ref
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


async def _switch(use: Use, target: Path, ref: str, branch: str, commit: str) -> str:
    """On a branch where one is meant, so that a later push knows what it pushes; else a detached head, and ""."""
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
    return name


def _is_commit(ref: str) -> bool:
    return len(ref) in (40, 64) and all(c in "0123456789abcdef" for c in ref.lower())


def _origin(use: Use, access: Access, branch: str) -> list[tuple[str, str, str, str]]:
    """`origin` with the credentials that a later `git push` needs, unless persist-credentials is false: section, name,
    key and value of git's configuration."""
    found = [("remote", "origin", "url", access.url), ("remote", "origin", "fetch", "+refs/heads/*:refs/remotes/origin/*")]
    if branch:
        found += [("branch", branch, "remote", "origin"), ("branch", branch, "merge", f"refs/heads/{branch}")]
    if access.token:
        use.mask(access.token)
        use.mask(basic(access.token))
    if access.token and use.flag("persist-credentials"):
        found.append(("http", access.url, "extraheader", f"AUTHORIZATION: basic {basic(access.token)}"))
    return found


async def _configure(use: Use, target: Path, entries: list[tuple[str, str, str, str]], *, fresh: bool) -> None:
    """Into a repository of a moment ago they are written at once: a process for each would take longer than the checkout."""
    if fresh:
        text = "".join(f'[{section} "{_quoted(name)}"]\n\t{key} = "{_quoted(value)}"\n'
                       for section, name, key, value in entries)
        with (target / ".git/config").open("a") as file:
            file.write(text)
        return
    for section, name, key, value in entries:
        await use.execute("git", "config", f"{section}.{name}.{key}", value, cwd=target, echo=False)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


CHECKOUT = BuiltIn(
    "actions/checkout",
    {"repository": "", "ref": "", "token": "", "ssh-key": "", "ssh-known-hosts": "", "ssh-strict": "true",
     "ssh-user": "git", "persist-credentials": "true", "path": "", "clean": "true", "filter": "",
     "sparse-checkout": "", "sparse-checkout-cone-mode": "true", "fetch-depth": "1", "fetch-tags": "false",
     "show-progress": "true", "lfs": "false", "submodules": "false", "set-safe-directory": "true",
     "github-server-url": ""},
    checkout,
)
