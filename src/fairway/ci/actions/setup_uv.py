"""astral-sh/setup-uv: the uv of this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from fairway.ci.actions.builtin import ActionFailed, BuiltIn, Use


async def setup_uv(use: Use) -> None:
    found = shutil.which("uv", path=use.run.search_path())
    if found is None:
        raise ActionFailed("uv is not on this machine's PATH and nothing is downloaded here; install it "
                           "(pip install uv), or use actions/setup-python with pip")
    said = await use.execute(found, "--version", echo=False)
    version = said.split()[1] if len(said.split()) > 1 else ""
    wanted = use.text("version")
    if wanted and wanted not in ("latest", version) and not version.startswith(wanted.removesuffix("x")):
        use.warn(f"uv {wanted} is asked for; this machine has {version}")
    use.add_path(Path(found).parent)
    if use.text("python-version"):
        use.set_env("UV_PYTHON", use.text("python-version"))
    if use.flag("activate-environment"):
        environment = use.workspace / ".venv"
        await use.execute(found, "venv", str(environment))
        use.set_env("VIRTUAL_ENV", str(environment))
        use.add_path(environment / "bin")
        use.output("venv", str(environment))
    use.output("uv-version", version)
    use.output("uv-path", found)
    use.output("cache-hit", "false")


SETUP_UV = BuiltIn(
    "astral-sh/setup-uv",
    {"version": "", "version-file": "", "python-version": "", "activate-environment": "false", "working-directory": "",
     "checksum": "", "github-token": "", "enable-cache": "auto", "cache-dependency-glob": "", "cache-suffix": "",
     "cache-local-path": "", "prune-cache": "true", "cache-python": "false", "restore-cache": "true",
     "save-cache": "true", "tool-dir": "", "tool-bin-dir": "", "ignore-nothing-to-cache": "false",
     "ignore-empty-workdir": "false", "server-url": "", "add-problem-matchers": "true", "manifest-file": "",
     "resolution-strategy": "highest", "venv-path": "", "no-project": "false", "download-from-astral-mirror": "true"},
    setup_uv,
)
