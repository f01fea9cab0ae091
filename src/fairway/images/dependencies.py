"""The dependency layer: what a requirements file installs, as an image has it, kept by content.

Packages go to `/usr/local/lib/pythonX.Y/site-packages`, console scripts to `/usr/local/bin` with a shebang that holds anywhere.
The layer's key is the text of the requirement files, the wheels that lie beside them, and the interpreter: an unchanged lock
costs nothing, and gives the same layer.

uv installs where it is found (ten times quicker), else pip; both honour their own variables for offline work.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fairway.images.layers import Layer, layer_of
from fairway.images.layout import Descriptor

_RECIPE = "1"  # part of the key: raise it when the layer's form changes
_LEFT_OUT = frozenset({"INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"})  # differ by installer or machine
_FAST_SCRIPT = """#!/usr/bin/env python3
import sys

from {module} import {root}

if __name__ == "__main__":
    sys.exit({attribute}())
"""


_ARCHIVE = re.compile(r"[\w.+/-]+\.(?:whl|tar\.gz|zip)\b")
"""What a requirements file names of the folder that it lies in."""


class InstallFailed(Exception):
    """The requirements could not be installed; the message ends with what the installer said."""


def python_tag() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def dependency_layer(requirements: Sequence[Path], cache: Path) -> Layer:
    """The layer for these files, from the cache where it is known. Raises `InstallFailed`."""
    key = _key(requirements)
    kept = cache / "layers" / key
    if (kept / "layer.json").is_file():
        facts = msgspec.json.decode((kept / "layer.json").read_bytes())
        return Layer(Descriptor(**facts["descriptor"]), facts["diff_id"], (kept / "layer.tar.gz").read_bytes())
    layer = _install(requirements)
    kept.mkdir(parents=True, exist_ok=True)
    d = layer.descriptor
    facts = {"diff_id": layer.diff_id,
             "descriptor": {"media_type": d.media_type, "digest": d.digest, "size": d.size}}
    for name, data in (("layer.tar.gz", layer.data), ("layer.json", msgspec.json.encode(facts))):
        temporary = kept / f".{name}.{os.getpid()}"
        temporary.write_bytes(data)
        temporary.replace(kept / name)
    return layer


def _key(requirements: Sequence[Path]) -> str:
    summed = hashlib.sha256(f"{_RECIPE} {python_tag()} {sysconfig.get_platform()}".encode())
    for path in requirements:
        data = path.read_bytes()
        summed.update(b"\0%d\0" % len(data))
        summed.update(data)
        for name in _ARCHIVE.findall(data.decode(errors="replace")):
            file = path.parent / name
            if file.is_file():
                summed.update(hashlib.sha256(file.read_bytes()).digest())
    return summed.hexdigest()


def _install(requirements: Sequence[Path]) -> Layer:
    with tempfile.TemporaryDirectory(prefix="fairway-dependencies-") as folder:
        target = Path(folder) / "packages"
        command = install_command(requirements, target)
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=requirements[0].parent)
        if done.returncode:
            said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
            names = ", ".join(path.name for path in requirements)
            raise InstallFailed(f"installing {names} failed:\n{said}")
        files = _arranged(target)
        return layer_of(files, executable=frozenset(name for name in files if name.startswith("usr/local/bin/")))


def install_command(requirements: Sequence[Path], target: Path) -> list[str]:
    """The installer's argv: uv from PATH or from this environment, else pip."""
    files = [argument for path in requirements for argument in ("-r", str(path.absolute()))]
    beside = Path(sys.executable).parent / "uv"
    uv = shutil.which("uv") or (str(beside) if beside.is_file() else None)
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", str(target), *files]
    return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
            "--target", str(target), *files]


def _arranged(target: Path) -> dict[str, Path | bytes]:
    """Files by their path in the image."""
    packages = f"usr/local/lib/{python_tag()}/site-packages"
    files: dict[str, Path | bytes] = {}
    for path in sorted(target.rglob("*")):
        name = path.relative_to(target).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if name.startswith("bin/") or "__pycache__/" in name or name.endswith(".pyc") or name == ".lock":
            continue
        if path.parent.name.endswith(".dist-info"):
            if path.name in _LEFT_OUT:
                continue
            if path.name == "RECORD":
                files[f"{packages}/{name}"] = _record(path.read_text())
                continue
        files[f"{packages}/{name}"] = path
    files.update(_scripts(target))
    return files


def _record(text: str) -> bytes:
    """RECORD without the lines of files that are not in the layer, or differ there."""
    kept = [line for line in text.splitlines()
            if not line.startswith("../") and not line.startswith("bin/") and ".pyc," not in line
            and line.partition(",")[0].rpartition("/")[2] not in _LEFT_OUT]
    return ("\n".join(sorted(kept)) + "\n").encode()


def _scripts(target: Path) -> dict[str, Path | bytes]:
    """Console scripts, written anew from the packages' entry points; other scripts with their shebang replaced."""
    scripts: dict[str, Path | bytes] = {}
    for path in sorted((target / "bin").glob("*")) if (target / "bin").is_dir() else ():
        data = path.read_bytes()
        if re.match(rb"^#!.*python", data):
            data = b"#!/usr/bin/env python3\n" + data.partition(b"\n")[2]
        scripts[f"usr/local/bin/{path.name}"] = data
    for path in sorted(target.glob("*.dist-info/entry_points.txt")):
        parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read_string(path.read_text())
        for name, value in parser.items("console_scripts") if parser.has_section("console_scripts") else ():
            module, _, attribute = value.partition("[")[0].strip().partition(":")
            text = _FAST_SCRIPT.format(module=module, attribute=attribute, root=attribute.partition(".")[0])
            scripts[f"usr/local/bin/{name}"] = text.encode()
    return scripts
