"""`include`: files of the repository, of other projects, of the network, and components, merged below the file that
includes them. Pure but for the `Sources` that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fairway.ci.gitlab.document import Document, read_document
from fairway.ci.gitlab.inputs import interpolated
from fairway.ci.gitlab.merging import deep_merge, flat
from fairway.ci.gitlab.rules import Facts, RuleMistake, decode_rules, first_match
from fairway.ci.gitlab.sources import Sources, Tree, matching
from fairway.ci.gitlab.variables import Variables, expand

MOST_INCLUDES = 150
_KINDS = ("local", "project", "remote", "template", "component")
_KEYS = frozenset({*_KINDS, "file", "ref", "inputs", "rules", "integrity", "cache"})


@dataclass(frozen=True)
class Given:
    """What includes may look at: variables, facts for their rules, and inputs of the pipeline by component ("" for all)."""

    sources: Sources
    facts: Facts
    variables: Mapping[str, str]
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Whole:
    """All files as one configuration. `where` gives file and line of each top-level key."""

    config: dict[str, Any]
    where: Mapping[str, tuple[str, int]]
    files: tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    """Where a file stands: its tree decides what `local` means within it."""

    tree: Tree
    inputs: Mapping[str, Any]
    component: Mapping[str, str]


class _Walk:
    def __init__(self, given: Given) -> None:
        self.given = given
        self.count = 0
        self.where: dict[str, tuple[str, int]] = {}
        self.files: list[str] = []

    def whole(self, text: str, path: str, place: _Place) -> dict[str, Any]:
        read = read_document(text, path)
        declared = (read.header.get("spec") or {}).get("inputs") or {}
        wide = self.given.inputs.get("", {}) if isinstance(declared, dict) else {}
        own = self.given.inputs.get(place.component.get("name", ""), {}) if place.component else {}
        chosen = {**{name: value for name, value in wide.items() if name in declared}, **own, **place.inputs}
        document = interpolated(read, chosen, self.given.variables, component=place.component)
        self.files.append(path)
        body = dict(document.body)
        entries = body.pop("include", None)
        merged: dict[str, Any] = {}
        variables = self._variables(body)
        for entry in flat(entries) if entries is not None else ():
            for piece in self.included(document, entry, place, variables):
                merged = deep_merge(merged, piece)
        for key in body:
            self.where[key] = (path, document.lines.get(key, 0))
        return deep_merge(merged, body)

    def _variables(self, body: Mapping[str, Any]) -> dict[str, str]:
        """Global variables of the file may stand in its includes, below those of the pipeline."""
        own = body.get("variables")
        texts = {str(name): str(value.get("value", "") if isinstance(value, dict) else value)
                 for name, value in own.items()} if isinstance(own, dict) else {}
        return Variables.of({**texts, **self.given.variables}).expanded()

    def included(self, document: Document, entry: Any, place: _Place, variables: Mapping[str, str]) -> list[dict[str, Any]]:
        if isinstance(entry, str):
            entry = {"remote" if entry.startswith(("http://", "https://")) else "local": entry}
        if not isinstance(entry, dict):
            raise document.refuse("include: each entry is a path, a URL or a mapping", "include")
        unknown = [key for key in entry if key not in _KEYS]
        kinds = [kind for kind in _KINDS if kind in entry]
        if unknown or len(kinds) != 1:
            raise document.refuse(f"include: needs one of {', '.join(_KINDS)}"
                                  f"{f', and does not know {unknown[0]!r}' if unknown else ''}", "include")
        if "rules" in entry and not self._wanted(document, entry["rules"]):
            return []
        inputs = entry.get("inputs") or {}
        if not isinstance(inputs, dict):
            raise document.refuse("include:inputs must be a mapping", "include")
        found = getattr(self, f"_{kinds[0]}")(document, entry, place, variables)
        pieces = []
        for text, path, tree, component in found:
            self.count += 1
            if self.count > MOST_INCLUDES:
                raise document.refuse(f"Maximum of {MOST_INCLUDES} nested includes are allowed", "include")
            pieces.append(self.whole(text, path, _Place(tree, inputs, component)))
        return pieces

    def _wanted(self, document: Document, rules: Any) -> bool:
        try:
            match = first_match(decode_rules(rules, "include:rules"), self.given.variables, self.given.facts)
        except RuleMistake as error:
            raise document.refuse(str(error), "include") from None
        return match is not None and match.when != "never"

    # --- kinds ----------------------------------------------------------------------------------------------------

    def _local(self, document: Document, entry: dict[str, Any], place: _Place, variables: Mapping[str, str]) -> Any:
        wanted = expand(str(entry["local"]), variables)
        if wanted.startswith("./") or "../" in f"{wanted}/":
            raise document.refuse(f"include:local `{wanted}`: paths start at the root of the repository and do not lead up; "
                                  f"write `{wanted.rpartition('../')[2].removeprefix('./')}`", "include")
        if not wanted.endswith((".yml", ".yaml")):
            raise document.refuse(f"include:local `{wanted}`: included files end in .yml or .yaml", "include")
        path = wanted.removeprefix("/")
        names = matching(place.tree, path) if "*" in path else [path]
        found: list[Any] = []
        for name in names:
            text = place.tree.read(name)
            if text is None:
                raise document.refuse(f"include:local `{name}` does not exist", "include")
            found.append((text, name, place.tree, place.component))
        return found

    def _project(self, document: Document, entry: dict[str, Any], place: _Place, variables: Mapping[str, str]) -> Any:
        name, ref = expand(str(entry["project"]), variables), expand(str(entry.get("ref") or ""), variables)
        files = flat(entry.get("file"))
        if not files or not all(isinstance(file, str) for file in files):
            raise document.refuse(f"include:project `{name}` needs `file`", "include")
        tree = self.given.sources.project(name, ref)
        if tree is None:
            raise document.refuse(f"include:project `{name}`{f' at {ref}' if ref else ''} is not on this platform; push it "
                                  "here, or include a copy with `local`", "include")
        found: list[Any] = []
        for file in files:
            path = expand(file, variables).removeprefix("/")
            text = tree.read(path)
            if text is None:
                raise document.refuse(f"include:project `{name}`: `{path}` does not exist there", "include")
            found.append((text, f"{name}:{path}", tree, {}))
        return found

    def _remote(self, document: Document, entry: dict[str, Any], place: _Place, variables: Mapping[str, str]) -> Any:
        url = expand(str(entry["remote"]), variables)
        text = self.given.sources.fetch(url)
        if text is None:
            raise document.refuse(f"include:remote {url} could not be fetched; include a copy with `local`", "include")
        return [(text, url, place.tree, {})]

    def _template(self, document: Document, entry: dict[str, Any], place: _Place, variables: Mapping[str, str]) -> Any:
        name = expand(str(entry["template"]), variables)
        text = self.given.sources.template(name)
        if text is None:
            raise document.refuse(f"include:template {name} could not be fetched from gitlab.com; include a copy with "
                                  "`local`", "include")
        return [(text, f"template {name}", place.tree, {})]

    def _component(self, document: Document, entry: dict[str, Any], place: _Place, variables: Mapping[str, str]) -> Any:
        address = expand(str(entry["component"]), variables)
        path, at, version = address.rpartition("@")
        _, _, rest = path.partition("/")
        project, _, name = rest.rpartition("/")
        if not at or not project or not name:
            raise document.refuse(f"include:component `{address}`: write HOST/PROJECT/COMPONENT@VERSION", "include")
        own = project == self.given.variables.get("CI_PROJECT_PATH")
        tree = self.given.sources.own() if own else self.given.sources.project(project, version.removeprefix("~latest"))
        if tree is None:
            raise document.refuse(f"include:component `{address}`: {project} is not on this platform; push it here, or "
                                  "include a copy with `local`", "include")
        for file in (f"templates/{name}.yml", f"templates/{name}/template.yml"):
            text = tree.read(file)
            if text is not None:
                facts = {"name": name, "version": version, "reference": version, "sha": version}
                return [(text, file if own else f"{project}:{file}", tree, facts)]
        raise document.refuse(f"include:component `{address}`: {project} has neither templates/{name}.yml nor "
                              f"templates/{name}/template.yml", "include")


def read_whole(path: str, given: Given) -> Whole | None:
    """The configuration that starts at `path`, or None where there is no such file. Raises `WorkflowError`."""
    tree = given.sources.own()
    text = tree.read(path)
    if text is None:
        return None
    return whole_of(text, path, given)


def whole_of(text: str, path: str, given: Given) -> Whole:
    """The same for a text that is not in the tree: a child pipeline that a job wrote."""
    walk = _Walk(given)
    config = walk.whole(text, path, _Place(given.sources.own(), {}, {}))
    return Whole(config, walk.where, tuple(walk.files))
