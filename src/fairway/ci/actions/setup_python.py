"""actions/setup-python: the interpreter of this machine that comes nearest, in a virtual environment of the job's own."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

from fairway.ci.actions.builtin import ActionFailed, BuiltIn, Use

_NAME = re.compile(r"python3\.(\d+)")


@dataclass(frozen=True, slots=True, order=True)
class Interpreter:
    minor: int
    path: str

    @property
    def version(self) -> str:
        return f"3.{self.minor}"


async def setup_python(use: Use) -> None:
    wanted = _wanted(use)
    found = interpreters(use.run.search_path())
    if not found:
        raise ActionFailed("no python3 on this machine's PATH; install one")
    chosen = choose(wanted, found)
    if wanted and not satisfies(chosen, wanted):
        have = ", ".join(sorted({i.version for i in found}))
        use.warn(f"Python {wanted} is not on this machine (it has {have}): the job runs on {chosen.version}")
    target = use.temp / f"python-{chosen.version}"
    if not target.exists():
        await _environment(use, chosen, target)
    python = target / "bin" / "python"
    full = (await use.execute(str(python), "-c", "import platform; print(platform.python_version())", echo=False,
                              quiet=True)).strip()
    use.add_path(target / "bin")
    use.set_env("pythonLocation", str(target))
    use.set_env("Python3_ROOT_DIR", str(target))
    use.log(f"Successfully set up CPython ({full}) in {target}")
    use.output("python-version", full)
    use.output("python-path", str(python))
    use.output("cache-hit", "false")


def _wanted(use: Use) -> str:
    """The version as written; several lines ask for the last one, as upstream puts that first on the PATH."""
    lines = use.lines("python-version")
    file = use.text("python-version-file")
    if not lines and file:
        path = use.inside(file)
        if not path.is_file():
            raise ActionFailed(f"python-version-file {file!r} does not exist in the work tree")
        text = path.read_text()
        match = re.search(r"requires-python\s*=\s*[\"']([^\"']+)", text) if path.suffix == ".toml" else None
        return match[1] if match else text.strip().splitlines()[0].strip()
    return lines[-1] if lines else ""


def interpreters(search_path: str) -> list[Interpreter]:
    """`python3.N` on the PATH, and the one that runs us; the first of each version."""
    found: dict[int, str] = {}
    for folder in search_path.split(":"):
        directory = Path(folder)
        for entry in sorted(directory.glob("python3.*")) if folder and directory.is_dir() else ():
            match = _NAME.fullmatch(entry.name)
            if match:
                found.setdefault(int(match[1]), str(entry))
    found.setdefault(sys.version_info.minor, getattr(sys, "_base_executable", sys.executable))
    return sorted(Interpreter(minor, path) for minor, path in found.items())


def satisfies(interpreter: Interpreter, wanted: str) -> bool:
    """Whether the minor version is what `3.12`, `3.12.4`, `3.x`, `>=3.11`, `^3.11` or `3.11 - 3.13` asks for."""
    numbers = [int(minor) for minor in re.findall(r"3\.(\d+)", wanted)]
    if not numbers or wanted in ("3", "3.x", "x"):
        return True
    if re.match(r"\s*(>=|\^|~=)", wanted):
        below = re.search(r"<\s*3\.(\d+)", wanted)
        return interpreter.minor >= numbers[0] and (below is None or interpreter.minor < int(below[1]))
    if " - " in wanted and len(numbers) == 2:
        return numbers[0] <= interpreter.minor <= numbers[1]
    return interpreter.minor == numbers[0]


def choose(wanted: str, found: list[Interpreter]) -> Interpreter:
    """The newest that satisfies, else the nearest (of two equally near ones the newer)."""
    fitting = [interpreter for interpreter in found if satisfies(interpreter, wanted)]
    if fitting:
        return max(fitting)
    numbers = [int(minor) for minor in re.findall(r"3\.(\d+)", wanted)]
    goal = numbers[0] if numbers else max(found).minor
    return min(found, key=lambda interpreter: (abs(interpreter.minor - goal), -interpreter.minor))


async def _environment(use: Use, chosen: Interpreter, target: Path) -> None:
    """Without ensurepip, which takes seconds: pip's own wheel, unpacked once for all jobs, is put on the path."""
    if chosen.minor == sys.version_info.minor:
        await asyncio.to_thread(venv.create, target, with_pip=False, symlinks=True)
    else:
        await use.execute(chosen.path, "-m", "venv", "--without-pip", str(target), echo=False)
    pip = await asyncio.to_thread(_pip, use.run.folders.tools)
    if pip is None:
        use.warn("pip is not part of this machine's Python; only what is installed already can be used")
        return
    site = target / "lib" / f"python3.{chosen.minor}" / "site-packages"
    (site / "pip-of-the-runner.pth").write_text(f"{pip}\n")
    for name in ("pip", "pip3"):
        script = target / "bin" / name
        script.write_text(f"#!{target}/bin/python\nimport sys\nfrom pip._internal.cli.main import main\n\nsys.exit(main())\n")
        script.chmod(0o755)


def _pip(tools: Path) -> str | None:
    """Folder with pip in it, unpacked from the wheel that comes with Python."""
    import ensurepip

    bundled = Path(ensurepip.__file__).parent / "_bundled"
    wheel = next(iter(sorted(bundled.glob("pip-*.whl"))), None) or _debian_wheel()
    if wheel is None:
        return None
    target = tools / wheel.stem
    if not target.exists():
        unpacking = tools / f".{wheel.stem}.{id(wheel):x}"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacking)
        try:
            unpacking.rename(target)
        except OSError:  # another job was faster: its copy is as good
            shutil.rmtree(unpacking, ignore_errors=True)
    return str(target)


def _debian_wheel() -> Path | None:
    return next(iter(sorted(Path("/usr/share/python-wheels").glob("pip-*.whl"))), None)


SETUP_PYTHON = BuiltIn(
    "actions/setup-python",
    {"python-version": "", "python-version-file": "", "cache": "", "architecture": "x64", "check-latest": "false",
     "token": "", "cache-dependency-path": "", "update-environment": "true", "allow-prereleases": "false",
     "freethreaded": "false", "pip-version": "", "pip-install": ""},
    setup_python,
)
