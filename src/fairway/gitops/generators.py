"""Generators of an ApplicationSet: from lists, git and clusters to sets of parameters. Hands only where git or a port is asked.

A generator that fails raises; it never answers with fewer sets than there are, because Applications are deleted by what is
missing from the answer.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fairway.git import GitPort, Tree
from fairway.gitops import go_template
from fairway.gitops.globs import matches
from fairway.gitops.sources import resolve_revision
from fairway.gitops.spec import HERE, InvalidSpec
from fairway.kube.objects import Obj, dig
from fairway.kube.selectors import from_label_selector
from fairway.manifests import yaml

Params = dict[str, Any]
KINDS = ("list", "git", "clusters", "matrix", "merge", "pullRequest", "scmProvider", "plugin")
ASKING = ("pullRequest", "scmProvider", "plugin")
_OTHERS = ("clusterDecisionResource",)


@dataclass(frozen=True, slots=True)
class PullRequest:
    number: int
    title: str
    branch: str
    target_branch: str
    head_sha: str
    labels: tuple[str, ...] = ()
    author: str = ""


@dataclass(frozen=True, slots=True)
class FoundRepository:
    """A repository of an organisation, at one of its branches."""

    organization: str
    repository: str
    url: str
    branch: str
    sha: str
    labels: tuple[str, ...] = ()
    has: frozenset[str] = frozenset()
    """The paths of the generator's filters that exist in it."""


class Forge(Protocol):
    """Declared here, filled by the platform: GitHub, GitLab, Gitea, Bitbucket. All raise OSError where it cannot be known."""

    async def pull_requests(self, generator: Mapping[str, Any], namespace: str) -> Sequence[PullRequest]:
        """The open ones that the generator's `github`, `gitlab`, `gitea`, `bitbucket…` section means."""
        ...

    async def repositories(self, generator: Mapping[str, Any], namespace: str) -> Sequence[FoundRepository]:
        """Those of the organisation that an `scmProvider` generator means, not filtered yet."""
        ...

    async def plugin(self, generator: Mapping[str, Any], namespace: str, set_name: str) -> Sequence[Mapping[str, Any]]:
        """What a plugin answers: one mapping for each set of parameters."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """What generators may ask: git repositories by URL, the clusters that are known, forges."""

    repository: Callable[[str], GitPort]
    clusters: Sequence[Obj]
    forge: Forge | None
    call: Callable[[GitPort, Callable[[], Any]], Awaitable[Any]]
    namespace: str = "argocd"
    set_name: str = ""


@dataclass(frozen=True, slots=True)
class Engine:
    """How templates of this ApplicationSet are read: Go's, or the simple replacement of `{{name}}`."""

    go: bool = False
    strict: bool = False

    def fill(self, value: Any, params: Params) -> Any:
        """Every text in `value` with the parameters filled in, keys included."""
        if isinstance(value, str):
            if "{{" not in value:
                return value
            return go_template.render(value, params, strict=self.strict) if self.go else _replaced(value, flat(params))
        if isinstance(value, list):
            return [self.fill(item, params) for item in value]
        if isinstance(value, Mapping):
            return {self.fill(key, params): self.fill(inner, params) for key, inner in value.items()}
        return value


def _replaced(text: str, params: Mapping[str, str]) -> str:
    return re.sub(r"\{\{\s*([^{}]*?)\s*\}\}", lambda m: params.get(m[1], m[0]), text)


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested parameters as the simple engine names them: `a.b`, `path[0]`."""
    found: dict[str, str] = {}
    for key, inner in (value.items() if isinstance(value, Mapping) else ()):
        name = f"{prefix}.{key}" if prefix else str(key)
        if name == "path" and isinstance(inner, Mapping) and "segments" in inner:
            found["path"] = inner["path"]
            found |= {f"path[{n}]": segment for n, segment in enumerate(inner["segments"])}
            found |= {f"path.{k}": str(v) for k, v in inner.items() if k not in ("path", "segments")}
        elif isinstance(inner, Mapping):
            found |= flat(inner, name)
        elif isinstance(inner, list):
            found[name] = json.dumps(inner)
        else:
            found[name] = go_template.shown(inner) if inner is not None else ""
    return found


# --- all ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Generated:
    """One set of parameters, and the template that its generator puts over the set's own."""

    params: Params
    template: Mapping[str, Any]


async def generate(generator: Mapping[str, Any], engine: Engine, world: World, path: str,
                   given: Params | None = None) -> list[Generated]:
    """Every set of parameters of one generator. `InvalidSpec`, `GitError`, `TemplateError`, OSError."""
    kinds = [kind for kind in (*KINDS, *_OTHERS) if generator.get(kind) is not None]
    if len(kinds) != 1:
        raise InvalidSpec(f"{path}: exactly one of {', '.join(KINDS)} is needed, found {', '.join(kinds) or 'none'}")
    kind = kinds[0]
    if kind in _OTHERS:
        raise InvalidSpec(f"{path}.{kind}: this generator is not supported; there are {', '.join(KINDS)}")
    body: Mapping[str, Any] = generator[kind]
    if given is not None and kind not in ("matrix", "merge"):
        body = engine.fill(body, given)
    sets = await _MAKERS[kind](body, engine, world, f"{path}.{kind}", given)
    selector = generator.get("selector")
    if selector:
        chosen = from_label_selector(selector)
        sets = [params for params in sets if chosen.matches(flat(params))]
    return [Generated(params, body.get("template") or {}) for params in sets]


def _with_values(params: Params, body: Mapping[str, Any], engine: Engine) -> Params:
    values = body.get("values")
    return {**params, "values": engine.fill(values, params)} if values else params


async def _list(body: Mapping[str, Any], engine: Engine, world: World, path: str, given: Params | None) -> list[Params]:
    elements = list(body.get("elements") or ())
    if body.get("elementsYaml"):
        elements += yaml.load(str(body["elementsYaml"]), path) or []
    for n, element in enumerate(elements):
        if not isinstance(element, Mapping):
            raise InvalidSpec(f"{path}.elements[{n}]: a mapping is needed, found {type(element).__name__}")
    return [dict(element) for element in elements]


async def _clusters(body: Mapping[str, Any], engine: Engine, world: World, path: str, given: Params | None) -> list[Params]:
    selector = body.get("selector") or {}
    chosen = from_label_selector(selector)
    ours_has_one = any((secret.get("stringData") or {}).get("server") == HERE for secret in world.clusters)
    found: list[Params] = [] if ours_has_one or selector.get("matchLabels") or selector.get("matchExpressions") else [
        {"name": "in-cluster", "nameNormalized": "in-cluster", "server": HERE, "project": ""}]
    for secret in world.clusters:
        meta, data = secret["metadata"], secret.get("stringData") or {}
        if not chosen.matches(meta.get("labels") or {}):
            continue
        name = str(data.get("name") or meta["name"])
        found.append({"name": name, "nameNormalized": go_template.normalised(name), "server": str(data.get("server") or ""),
                      "project": str(data.get("project") or ""),
                      "metadata": {"labels": meta.get("labels") or {}, "annotations": meta.get("annotations") or {}}})
    found = [_with_values(params, body, engine) for params in found]
    return [{"clusters": found}] if body.get("flatList") else found


async def _git(body: Mapping[str, Any], engine: Engine, world: World, path: str, given: Params | None) -> list[Params]:
    if not body.get("repoURL"):
        raise InvalidSpec(f"{path}.repoURL: is missing")
    if bool(body.get("directories")) == bool(body.get("files")):
        raise InvalidSpec(f"{path}: either directories or files is needed")
    port = world.repository(str(body["repoURL"]))
    revision = str(body.get("revision") or "HEAD")

    def read() -> tuple[Tree, list[str]]:
        tree = port.read_tree(resolve_revision(port, revision))
        return tree, sorted(tree)

    tree, files = await world.call(port, read)
    prefix = str(body.get("pathParamPrefix") or "")
    found: list[Params] = []
    if body.get("directories"):
        for folder in _chosen(_folders(files), body["directories"]):
            found.append(_with_values(_path_params(folder, prefix), body, engine))
        return found
    for file in _chosen(files, body["files"]):
        text = await world.call(port, lambda file=file: tree.read(file))  # type: ignore[misc]
        documents = yaml.load(text, file)
        for document in documents if isinstance(documents, list) else [documents]:
            if not isinstance(document, Mapping):
                raise InvalidSpec(f"{path}: {file}: a mapping or a list of mappings is needed")
            folder, _, name = file.rpartition("/")
            params = {**document, **_path_params(folder, prefix, name)}
            found.append(_with_values(params, body, engine))
    return found


def _folders(files: Iterable[str]) -> list[str]:
    found = {"/".join(parts[:n]) for file in files for parts in [file.split("/")] for n in range(1, len(parts))}
    return sorted(folder for folder in found if not any(part.startswith(".") for part in folder.split("/")))


def _chosen(paths: Iterable[str], entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those that an entry names and none excludes. `*` stays within a folder, `**` does not."""
    wanted = [str(e.get("path")) for e in entries if not e.get("exclude")]
    excluded = [str(e.get("path")) for e in entries if e.get("exclude")]
    return [path for path in paths if any(_fits(pattern, path) for pattern in wanted)
            and not any(_fits(pattern, path) for pattern in excluded)]


def _fits(pattern: str, path: str) -> bool:
    return matches(pattern, path, "/") or ("**/" in pattern and matches(pattern.replace("**/", ""), path, "/"))


def _path_params(folder: str, prefix: str, file: str = "") -> Params:
    name = folder.rpartition("/")[2]
    about: Params = {"path": folder, "basename": name, "basenameNormalized": go_template.normalised(name),
                     "segments": folder.split("/") if folder else []}
    if file:
        about |= {"filename": file, "filenameNormalized": go_template.normalised(file)}
    return {prefix: {"path": about}} if prefix else {"path": about}


async def _matrix(body: Mapping[str, Any], engine: Engine, world: World, path: str, given: Params | None) -> list[Params]:
    """Every combination; what the first generators give may be used in those after them."""
    inner = body.get("generators") or []
    if len(inner) != 2:
        raise InvalidSpec(f"{path}.generators: exactly two are needed, found {len(inner)}")
    found: list[Params] = []
    for first in await generate(inner[0], engine, world, f"{path}.generators[0]", given):
        known = {**(given or {}), **first.params}
        for second in await generate(inner[1], engine, world, f"{path}.generators[1]", known):
            found.append(_deep({**first.params}, second.params))
    return found


def _deep(a: Params, b: Mapping[str, Any]) -> Params:
    both = {key: _deep(dict(a[key]), b[key]) if isinstance(a.get(key), Mapping) and isinstance(b[key], Mapping)
            and key != "path" else b[key] for key in b}
    return {**a, **both}


async def _merge(body: Mapping[str, Any], engine: Engine, world: World, path: str, given: Params | None) -> list[Params]:
    """The first generator's sets, each with what later generators say about the same keys."""
    inner, keys = body.get("generators") or [], [str(key) for key in body.get("mergeKeys") or ()]
    if len(inner) < 2 or not keys:
        raise InvalidSpec(f"{path}: at least two generators, and mergeKeys, are needed")
    results = [await generate(one, engine, world, f"{path}.generators[{n}]", given) for n, one in enumerate(inner)]
    merged: dict[tuple[str, ...], Params] = {}
    for generated in results[0]:
        key = _key(generated.params, keys)
        if key in merged:
            raise InvalidSpec(f"{path}: the values {dict(zip(keys, key, strict=True))} of mergeKeys are not unique")
        merged[key] = generated.params
    for generated in itertools.chain(*results[1:]):
        key = _key(generated.params, keys)
        if key in merged:
            merged[key] = _deep(merged[key], generated.params)
    return list(merged.values())


def _key(params: Params, keys: Sequence[str]) -> tuple[str, ...]:
    named = flat(params)
    return tuple(named.get(key, "") for key in keys)


async def _pull_request(body: Mapping[str, Any], engine: Engine, world: World, path: str, given: Params | None) -> list[Params]:
    found = []
    for request in await _forge(world, path).pull_requests(body, world.namespace):
        filters = body.get("filters") or [{}]
        if not any(_wanted(request, one) for one in filters):
            continue
        params: Params = {
            "number": str(request.number), "title": request.title, "branch": request.branch,
            "branch_slug": go_template.slug(request.branch), "target_branch": request.target_branch,
            "target_branch_slug": go_template.slug(request.target_branch), "head_sha": request.head_sha,
            "head_short_sha": request.head_sha[:8], "head_short_sha_7": request.head_sha[:7], "author": request.author,
            "labels": list(request.labels),
        }
        found.append(_with_values(params, body, engine))
    return found


def _wanted(request: PullRequest, one: Mapping[str, Any]) -> bool:
    return all(re.search(str(one[key]), text) is not None for key, text in (
        ("branchMatch", request.branch), ("targetBranchMatch", request.target_branch), ("titleMatch", request.title))
        if one.get(key))


def _forge(world: World, path: str) -> Forge:
    if world.forge is None:
        raise InvalidSpec(f"{path}: no forge is connected here, so it cannot be asked")
    return world.forge


async def _scm_provider(body: Mapping[str, Any], engine: Engine, world: World, path: str, given: Params | None) -> list[Params]:
    filters = body.get("filters") or [{}]
    found = []
    for one in await _forge(world, path).repositories(body, world.namespace):
        if not any(_wanted_repository(one, rule) for rule in filters):
            continue
        params: Params = {
            "organization": one.organization, "repository": one.repository, "repository_id": one.repository, "url": one.url,
            "branch": one.branch, "branchNormalized": go_template.normalised(one.branch), "sha": one.sha,
            "short_sha": one.sha[:8], "short_sha_7": one.sha[:7], "labels": ",".join(one.labels),
        }
        found.append(_with_values(params, body, engine))
    return found


def _wanted_repository(one: FoundRepository, rule: Mapping[str, Any]) -> bool:
    """All that a filter names has to hold; patterns are searched for, not matched whole."""
    patterns = all(re.search(str(rule[key]), text) is not None for key, text in (
        ("repositoryMatch", one.repository), ("branchMatch", one.branch)) if rule.get(key))
    labels = not rule.get("labelMatch") or any(re.search(str(rule["labelMatch"]), label) for label in one.labels)
    return patterns and labels and all(path in one.has for path in rule.get("pathsExist") or ()) and not any(
        path in one.has for path in rule.get("pathsDoNotExist") or ())


async def _plugin(body: Mapping[str, Any], engine: Engine, world: World, path: str, given: Params | None) -> list[Params]:
    """The plugin's own parameters, and what it was asked beside them."""
    asked = dig(body, "input", "parameters", default={})
    return [_with_values({**answer, "generator": {"input": {"parameters": asked}}}, body, engine)
            for answer in await _forge(world, path).plugin(body, world.namespace, world.set_name)]


_Maker = Callable[[Mapping[str, Any], Engine, World, str, Params | None], Awaitable[list[Params]]]
_MAKERS: dict[str, _Maker] = {
    "list": _list, "clusters": _clusters, "git": _git, "matrix": _matrix, "merge": _merge, "pullRequest": _pull_request,
    "scmProvider": _scm_provider, "plugin": _plugin,
}
