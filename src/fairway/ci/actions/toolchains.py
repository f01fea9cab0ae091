"""Actions that bring a tool: here it is the one of this machine, or a clear refusal that says which there are."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from fairway.ci.actions.builtin import ActionFailed, BuiltIn, Use


@dataclass(frozen=True, slots=True)
class Tool:
    """`ask` prints the version. `inputs` name the version, `files` hold it; `home` is a variable for the folder above."""

    program: str
    ask: tuple[str, ...]
    inputs: tuple[str, ...] = ("version",)
    files: tuple[str, ...] = ()
    output: str = "version"
    home: str = ""


def _setup(tool: Tool) -> Callable[[Use], Awaitable[None]]:
    async def run(use: Use) -> None:
        path = shutil.which(tool.program, path=use.run.search_path())
        if path is None:
            raise ActionFailed(f"{use.step.uses}: {tool.program} is not on this machine's PATH; install it, or leave the step "
                               f"out with --stub {use.step.uses.partition('@')[0]}")
        said = await use.execute(*tool.ask, echo=False, quiet=True, may_fail=True)
        have = match[0] if (match := re.search(r"\d+(?:\.\d+)+", said)) else "unknown"
        wanted = wanted_version(use, tool)
        if wanted and have != "unknown" and not fits(have, wanted):
            use.warn(f"{tool.program} {wanted} is not on this machine: the job runs with {have}")
        use.add_path(Path(path).parent)
        if tool.home:
            use.set_env(tool.home, str(Path(path).resolve().parent.parent))
        use.log(f"{tool.program} {have} of this machine ({path})")
        use.output(tool.output, have)
        use.output("cache-hit", "false")
        if tool.program == "node" and use.text("registry-url"):
            _npmrc(use)

    return run


def wanted_version(use: Use, tool: Tool) -> str:
    for name in tool.inputs:
        if use.text(name):
            return use.text(name)
    for name in tool.files:
        if use.text(name):
            path = use.inside(use.text(name))
            if not path.is_file():
                raise ActionFailed(f"input {name!r}: {use.text(name)} does not exist in the work tree")
            return _version_in(path)
    return ""


def _version_in(path: Path) -> str:
    text = path.read_text(errors="replace")
    if path.name == "package.json":
        found = json.loads(text)
        return str((found.get("volta") or {}).get("node") or (found.get("engines") or {}).get("node") or "")
    if path.name in ("go.mod", "go.work"):
        match = re.search(r"^go\s+(\S+)", text, re.MULTILINE)
        return match[1] if match else ""
    return text.strip().splitlines()[0].strip().removeprefix("v") if text.strip() else ""


def fits(have: str, wanted: str) -> bool:
    """As far as the wanted version goes: `20`, `20.x`, `^20.1`, `>=18`, `lts/*`, `stable`."""
    match = re.match(r"[~^=v\s]*(>=|>)?\s*(\d+(?:\.\d+)*)", wanted)
    if match is None:
        return True
    mine, theirs = [int(part) for part in have.split(".")], [int(part) for part in match[2].split(".")]
    if match[1]:
        return mine >= theirs
    length = 1 if wanted.startswith("^") else len(theirs)
    return mine[:length] == theirs[:length]


def _npmrc(use: Use) -> None:
    scope, url = use.text("scope"), use.text("registry-url").rstrip("/") + "/"
    line = f"{scope + ':' if scope else ''}registry={url}\n//{url.partition('://')[2]}:_authToken=${{NODE_AUTH_TOKEN}}\n"
    path = use.temp / ".npmrc"
    path.write_text(line)
    use.set_env("NPM_CONFIG_USERCONFIG", str(path))


_CACHE = {"cache": "", "cache-dependency-path": "", "token": "", "architecture": "", "check-latest": "false"}
_ROWS: tuple[tuple[str, Tool, dict[str, str]], ...] = (
    ("actions/setup-node", Tool("node", ("node", "--version"), ("node-version",), ("node-version-file",), "node-version"),
     {"node-version": "", "node-version-file": "", "registry-url": "", "scope": "", "always-auth": "", **_CACHE}),
    ("actions/setup-java", Tool("java", ("java", "-version"), ("java-version",), ("java-version-file",), home="JAVA_HOME"),
     {"java-version": "", "java-version-file": "", "distribution": "", "java-package": "jdk", **_CACHE}),
    ("actions/setup-go", Tool("go", ("go", "version"), ("go-version",), ("go-version-file",), "go-version"),
     {"go-version": "", "go-version-file": "", **_CACHE}),
    ("actions/setup-dotnet",
     Tool("dotnet", ("dotnet", "--version"), ("dotnet-version",), ("global-json-file",), "dotnet-version"),
     {"dotnet-version": "", "global-json-file": "", "dotnet-quality": "", **_CACHE}),
    ("ruby/setup-ruby", Tool("ruby", ("ruby", "--version"), ("ruby-version",), output="ruby-version"),
     {"ruby-version": "", "bundler": "", "bundler-cache": "false", "working-directory": ".", **_CACHE}),
    ("shivammathur/setup-php", Tool("php", ("php", "--version"), ("php-version",), output="php-version"),
     {"php-version": "", "extensions": "", "tools": "", "coverage": "", "ini-values": "", **_CACHE}),
    ("erlef/setup-beam", Tool("elixir", ("elixir", "--version"), ("elixir-version",), output="elixir-version"),
     {"elixir-version": "", "otp-version": "", **_CACHE}),
    ("dtolnay/rust-toolchain", Tool("cargo", ("cargo", "--version"), ("toolchain",), output="name"),
     {"toolchain": "", "targets": "", "components": ""}),
    ("actions-rs/toolchain", Tool("cargo", ("cargo", "--version"), ("toolchain",), output="rustc"),
     {"toolchain": "", "profile": "", "override": "", "target": "", "components": ""}),
    ("pnpm/action-setup", Tool("pnpm", ("pnpm", "--version")), {"version": "", "run_install": "", "dest": "", "standalone": "",
                                                               "package_json_file": ""}),
    ("oven-sh/setup-bun", Tool("bun", ("bun", "--version"), ("bun-version",), ("bun-version-file",), "bun-version"),
     {"bun-version": "", "bun-version-file": "", **_CACHE}),
    ("gradle/actions/setup-gradle", Tool("gradle", ("gradle", "--version"), ("gradle-version",), output="gradle-version"),
     {"gradle-version": "", "cache-disabled": "", **_CACHE}),
    ("hashicorp/setup-terraform", Tool("terraform", ("terraform", "version"), ("terraform_version",)),
     {"terraform_version": "", "terraform_wrapper": "", "cli_config_credentials_token": ""}),
    ("azure/setup-helm", Tool("helm", ("helm", "version", "--short"), output="helm-path"), {"version": "", "token": ""}),
    ("azure/setup-kubectl", Tool("kubectl", ("kubectl", "version", "--client"), output="kubectl-path"), {"version": ""}),
)
TOOLCHAINS = tuple(BuiltIn(name, inputs, _setup(tool)) for name, tool, inputs in _ROWS)
