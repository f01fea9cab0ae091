"""The subset of Dockerfiles that is built without a daemon: a Python project and its dependencies. Pure.

Understood: FROM (stages), ARG, ENV, LABEL, WORKDIR, COPY, USER, EXPOSE, CMD, ENTRYPOINT, HEALTHCHECK, STOPSIGNAL, and RUN
lines that install requirements (`pip install -r FILE`, `uv pip install -r FILE`). These become the dependency layer, wherever
they put their files; COPY --from of a stage that has such a line takes that layer over. Any other RUN needs a real builder,
and is refused with its line. Source: the Dockerfile reference.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fairway.kube.durations import parse_duration


class DockerfileError(Exception):
    """`file:line: mistake; mend`."""


class NeedsBuilder(DockerfileError):
    """A good Dockerfile, of which only a real builder can make an image."""


@dataclass(frozen=True, slots=True)
class Instruction:
    line: int
    word: str
    flags: Mapping[str, str]
    text: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Files of the context, and where they go; `line` for errors."""

    line: int
    sources: tuple[str, ...]
    target: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What the last stage of a Dockerfile makes."""

    base: str = ""
    requirements: tuple[Copy, ...] = ()
    """Requirement files (as they are called in the context) that the dependency layer installs."""
    copies: tuple[Copy, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = "/"
    user: str = ""
    ports: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    healthcheck: Mapping[str, object] | None = None
    stop_signal: str = ""


_FLAG = re.compile(r"--([a-z-]+)(?:=(\S+))?\s+")
_VARIABLE = re.compile(r"(?<!\\)\$(?:(\w+)|\{(\w+)(?::([-+])([^}]*))?\})")
_INSTALL = re.compile(r"^(?:python\d?(?:\.\d+)? -m )?(?:uv )?pip\d? install\b(?P<rest>.*)$")
_HARMLESS = re.compile(r"^(?:(?:python\d? -m )?pip install (?:--\S+ )*(?:--upgrade|-U) pip|true|:)$")


def parse(text: str, file: str = "Dockerfile") -> list[Instruction]:
    """The instructions in order. Raises `DockerfileError` on a line that starts with no instruction."""
    found = []
    for number, line in _logical_lines(text):
        word, _, rest = line.partition(" ")
        if not word.isalpha():
            raise DockerfileError(f"{file}:{number}: {word!r} is not an instruction; a line that goes on ends with '\\'")
        rest = rest.strip()
        flags: dict[str, str] = {}
        while m := _FLAG.match(rest + " "):
            flags[m[1]] = m[2] or ""
            rest = rest[m.end():].strip()
        found.append(Instruction(number, word.upper(), flags, rest))
    return found


def _logical_lines(text: str) -> list[tuple[int, str]]:
    lines: list[tuple[int, str]] = []
    started = 0
    parts: list[str] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith("#") or (not line and not parts):
            continue
        if not parts:
            started = number
        if line.endswith("\\"):
            parts.append(line[:-1].strip())
            continue
        parts.append(line)
        lines.append((started, " ".join(p for p in parts if p)))
        parts = []
    if parts:
        lines.append((started, " ".join(parts)))
    return lines


def plan(instructions: list[Instruction], build_args: Mapping[str, str], file: str = "Dockerfile", *,
         target: str = "") -> Plan:
    """What to build: the last stage, or the one called `target`.

    Raises `DockerfileError` for what only a real builder can do.
    """
    return _Reader(build_args, file).read(_until(instructions, target, file) if target else instructions)


def _until(instructions: list[Instruction], target: str, file: str) -> list[Instruction]:
    """The instructions up to the end of a stage, which is called by its name or its number."""
    starts = [place for place, it in enumerate(instructions) if it.word == "FROM"]
    names = [_stage_name(instructions[place].text) or str(number) for number, place in enumerate(starts)]
    if target not in names:
        raise DockerfileError(f"{file}: no stage is called {target!r}; there are: {', '.join(names) or 'none'}")
    return instructions[: [*starts, len(instructions)][names.index(target) + 1]]


def images_named(instructions: list[Instruction], build_args: Mapping[str, str]) -> list[str]:
    """The images that `FROM` and `COPY --from` take from elsewhere, as they are written once variables are filled in."""
    variables: dict[str, str] = {}
    stages = {"", "scratch"}
    found: dict[str, None] = {}
    in_stage = False
    for it in instructions:
        source = it.flags.get("from", "")
        if it.word == "ARG" and not in_stage:
            name, _, default = it.text.partition("=")
            variables[name] = build_args.get(name, default.strip("\"'"))
        elif it.word == "FROM":
            image = _expand(it.text.split()[0] if it.text else "", variables)
            if image.lower() not in stages:
                found[image] = None
            stages.add(_stage_name(it.text).lower())
            in_stage = True
        elif it.word == "COPY" and source.lower() not in stages and not source.isdigit():
            found[source] = None
    return list(found)


def _stage_name(text: str) -> str:
    """Of `python:3.12 AS build`, "" where it has none."""
    return re.sub(r"^as\s+", "", text.partition(" ")[2].strip(), flags=re.IGNORECASE)


class _Reader:
    def __init__(self, build_args: Mapping[str, str], file: str) -> None:
        self._given = dict(build_args)
        self._file = file
        self._global: dict[str, str] = {}
        self._variables: dict[str, str] = {}
        self._stages: dict[str, Plan] = {}
        self._now: Plan | None = None
        self._name = ""

    def read(self, instructions: list[Instruction]) -> Plan:
        for instruction in instructions:
            if instruction.word == "FROM":
                self._from(instruction)
            elif instruction.word == "ARG":
                self._arg(instruction)
            elif self._now is None:
                raise self._refusal(instruction, "comes before FROM", "begin with a FROM line")
            else:
                self._step(instruction, self._now)
        if self._now is None:
            raise DockerfileError(f"{self._file}:1: no FROM line; name a base image, such as FROM python:3.12-slim")
        return self._now

    def _from(self, it: Instruction) -> None:
        if self._now is not None:
            self._stages[self._name] = self._now
        text = _expand(it.text, self._global)
        base = text.partition(" ")[0]
        self._name = _stage_name(text) or str(len(self._stages))
        self._variables = dict(self._global)
        self._now = self._stages.get(base) or Plan(base=base)

    def _arg(self, it: Instruction) -> None:
        for part in shlex.split(it.text):
            name, equals, default = part.partition("=")
            scope = self._variables if self._now is not None else self._global
            if name in self._given:
                scope[name] = self._given[name]
            elif equals:
                scope[name] = _expand(default, scope)
            elif name in self._global:
                scope[name] = self._global[name]

    def _step(self, it: Instruction, now: Plan) -> None:
        text = it.text if it.word in ("RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK") else _expand(it.text, self._scope(now))
        match it.word:
            case "ENV":
                now = replace(now, env={**now.env, **self._pairs(it, text)})
            case "LABEL":
                now = replace(now, labels={**now.labels, **self._pairs(it, text)})
            case "WORKDIR":
                now = replace(now, working_dir=_join(now.working_dir, text))
            case "USER":
                now = replace(now, user=text)
            case "EXPOSE":
                now = replace(now, ports=(*now.ports, *(p if "/" in p else f"{p}/tcp" for p in text.split())))
            case "CMD":
                now = replace(now, cmd=_command(text))
            case "ENTRYPOINT":
                now = replace(now, entrypoint=_command(text), cmd=())
            case "STOPSIGNAL":
                now = replace(now, stop_signal=text)
            case "HEALTHCHECK":
                now = replace(now, healthcheck=_healthcheck(it.flags, text))
            case "COPY" | "ADD":
                now = self._copy(it, text, now)
            case "RUN":
                now = self._run(it, text, now)
            case "MAINTAINER" | "SHELL" | "VOLUME":
                pass  # nothing of the files or of how they run depends on these here
            case _:
                raise self._refusal(it, f"{it.word} is not understood", "see the instructions in the Dockerfile reference")
        self._now = now

    def _scope(self, now: Plan) -> dict[str, str]:
        return {**self._variables, **now.env}

    def _pairs(self, it: Instruction, text: str) -> dict[str, str]:
        try:
            parts = shlex.split(text)
        except ValueError as error:
            raise self._refusal(it, f"quotes do not match ({error})", "close the quote") from error
        if parts and "=" not in parts[0]:
            return {parts[0]: " ".join(parts[1:])}
        bad = next((p for p in parts if "=" not in p), None)
        if bad is not None:
            raise self._refusal(it, f"{bad!r} has no value", f"write {it.word} NAME=VALUE")
        return dict(p.split("=", 1) for p in parts)

    def _copy(self, it: Instruction, text: str, now: Plan) -> Plan:
        parts = json.loads(text) if text.startswith("[") else shlex.split(text)
        if len(parts) < 2:
            raise self._refusal(it, "a source and a target are needed", "write COPY SOURCE TARGET")
        if "from" in it.flags:
            stage = self._stages.get(it.flags["from"])
            if stage is None or not stage.requirements:
                raise self._refusal(it, f"copies from {it.flags['from']!r}, which installs no requirements here",
                             "only the dependencies of a stage can be taken over; build with docker otherwise", builder=True)
            return replace(now, requirements=(*now.requirements, *stage.requirements))
        if any(p.startswith(("http://", "https://")) for p in parts):
            raise self._refusal(it, "downloads from the network", "keep the file in the repository", builder=True)
        target = _join(now.working_dir, parts[-1])
        if (len(parts) > 2 or parts[-1].endswith("/") or parts[-1] in (".", "./")) and not target.endswith("/"):
            target += "/"
        return replace(now, copies=(*now.copies, Copy(it.line, tuple(parts[:-1]), target)))

    def _run(self, it: Instruction, text: str, now: Plan) -> Plan:
        for command in (part.strip() for part in re.split(r"&&|;", text)):
            m = _INSTALL.match(command)
            names = re.findall(r"(?:-r|--requirements?)[ =]?(\S+)", m["rest"]) if m else []
            if names:
                found = tuple(self._requirement(it, name, now) for name in names)
                now = replace(now, requirements=(*now.requirements, *found))
            elif not _HARMLESS.match(command):
                raise self._refusal(it, f"RUN {command} needs a real builder", builder=True,
                             mend="only 'pip install -r FILE' runs without one; move the rest out of the image, or build with "
                             "docker, buildah or podman")
        return now

    def _requirement(self, it: Instruction, name: str, now: Plan) -> Copy:
        """The file of the context that was copied to where RUN reads it."""
        wanted = _join(now.working_dir, name)
        for copy in now.copies:
            for source in copy.sources:
                base = source.rstrip("/").rpartition("/")[2]
                lands = copy.target + base if copy.target.endswith("/") else copy.target
                if lands == wanted:
                    return Copy(it.line, (source,), wanted)
                if source in (".", "./") and wanted.startswith(copy.target):
                    return Copy(it.line, (wanted.removeprefix(copy.target),), wanted)
        raise self._refusal(it, f"{name} was not copied into the image before this line", f"add COPY {name} ./ above it")

    def _refusal(self, it: Instruction, mistake: str, mend: str, *, builder: bool = False) -> DockerfileError:
        """`builder`: docker, buildah or podman could."""
        kind = NeedsBuilder if builder else DockerfileError
        return kind(f"{self._file}:{it.line}: {mistake}; {mend}")


def _expand(text: str, variables: Mapping[str, str]) -> str:
    def value(m: re.Match[str]) -> str:
        name, sign, other = m[1] or m[2], m[3], m[4] or ""
        present = bool(variables.get(name))
        if sign == "-":
            return variables[name] if present else other
        if sign == "+":
            return other if present else ""
        return variables.get(name, "")

    return _VARIABLE.sub(value, text).replace("\\$", "$")


def _join(folder: str, path: str) -> str:
    """`path` seen from `folder`; a trailing slash is kept."""
    whole = path if path.startswith("/") else f"{folder.rstrip('/')}/{path}"
    parts: list[str] = []
    for part in whole.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return "/" + "/".join(parts) + ("/" if path.endswith("/") and parts else "")


def _command(text: str) -> tuple[str, ...]:
    if text.startswith("["):
        return tuple(str(word) for word in json.loads(text))
    return ("/bin/sh", "-c", text)


def _healthcheck(flags: Mapping[str, str], text: str) -> Mapping[str, object] | None:
    if text.upper() == "NONE":
        return None
    command = _command(re.sub(r"^CMD\s+", "", text))
    shell = command[:2] == ("/bin/sh", "-c")
    found: dict[str, object] = {"Test": ["CMD-SHELL", command[2]] if shell else ["CMD", *command]}
    for flag, name in (("interval", "Interval"), ("timeout", "Timeout"), ("start-period", "StartPeriod")):
        if flag in flags:
            found[name] = round(parse_duration(flags[flag]).total_seconds() * 1e9)
    if "retries" in flags:
        found["Retries"] = int(flags["retries"])
    return found
