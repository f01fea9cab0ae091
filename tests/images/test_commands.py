"""`fairway image` as people and pipelines run it, against a registry over the network."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fairway.images.layers import layer_of
from fairway.images.layout import CONFIG, MANIFEST, Layout, encode
from fairway.images.reference import parse_reference
from fairway.images.registry import LocalRegistry
from fairway.images.unpack import unpack
from tests.images.servers import TOKEN, ours

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"usr/local/lib/python{PYTHON}/site-packages"


def base_image(layout: Layout, version: str = f"{PYTHON}.1") -> str:
    layer = layer_of({"etc/base": b"the base", f"{SITE}/flask-3.0.dist-info/METADATA": b"Name: flask\nVersion: 3.0\n\n"})
    layout.write(layer.data, layer.descriptor.media_type)
    config = layout.write(encode({
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "config": {"Env": [f"PYTHON_VERSION={version}", "PATH=/usr/local/bin:/usr/bin"], "Cmd": ["python3"]}}), CONFIG)
    manifest = layout.write(encode({"schemaVersion": 2, "mediaType": MANIFEST, "config": config.as_json(),
                                    "layers": [layer.descriptor.as_json()]}), MANIFEST)
    layout.tag("1", manifest)
    return manifest.digest


def _without_docker() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE")}


class Shell:
    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.env = {**_without_docker(), "FAIRWAY_STATE": str(self.state), "HOME": str(folder)}

    async def fairway(self, *words: str, stdin: str = "", code: int = 0) -> str:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("fairway")), *words, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)  # fmt: skip
        out, err = await process.communicate(stdin.encode())
        self.said = (out + err).decode()
        assert process.returncode == code, self.said
        return (out if code == 0 else out + err).decode()


def project(folder: Path, base: str) -> Path:
    folder.mkdir()
    (folder / "app.py").write_text("print('hello')\n")
    (folder / "Dockerfile").write_text(f"FROM {base}\nWORKDIR /srv\nCOPY app.py ./\nCMD [\"python3\", \"app.py\"]\n")
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=folder, check=True)
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", *who, "commit", "-qm", "first"], cwd=folder, check=True)
    return folder


def test_from_a_base_in_a_registry_to_an_image_in_it_that_is_scanned(tmp_path: Path) -> None:
    async def run() -> None:
        served, shell = LocalRegistry(tmp_path / "served"), Shell(tmp_path)
        base_digest = base_image(served.layout("registry.example.com/base/python"))
        async with ours(served) as host:
            base, name = f"{host}/registry.example.com/base/python:1", f"{host}/registry.example.com/shop/app:1.0"
            source = project(tmp_path / "app", base)

            refused = await shell.fairway("image", "build", str(source), "-t", name, "--base", "registry", code=1)
            assert f"fairway image login {host}" in refused
            login = ("image", "login", host, "-u", "me", "--password-stdin")
            assert "refused to 'me'" in await shell.fairway(*login, stdin="no", code=1)
            await shell.fairway(*login, stdin=TOKEN)
            kept = shell.state / "registries.json"
            assert kept.stat().st_mode & 0o777 == 0o600

            metadata = tmp_path / "metadata.json"
            await shell.fairway("image", "build", str(source), "-t", name, "--base", "registry", "--push", "--sbom",
                                "--provenance", "--metadata-file", str(metadata))
            digest = json.loads(metadata.read_text())["containerimage.digest"]
            pushed = json.loads(await shell.fairway("image", "push", name, "-o", "json"))
            assert pushed["digest"] == digest
            assert served.resolve(parse_reference("registry.example.com/shop/app:1.0")).digest == digest

            shown = json.loads(await shell.fairway("image", "inspect", name, "-o", "json"))
            assert len(shown["layers"]) == 2 and shown["config"]["Cmd"] == ["python3", "app.py"]
            assert f"PYTHON_VERSION={PYTHON}.1" in shown["config"]["Env"]

            await shell.fairway("image", "logout", host)
            elsewhere = Shell(tmp_path / "elsewhere")
            (tmp_path / "elsewhere").mkdir()
            await elsewhere.fairway(*login, stdin=TOKEN)
            await elsewhere.fairway("image", "pull", name)
            assert digest[:19] in await elsewhere.fairway("image", "list")
            bill = json.loads(await elsewhere.fairway("image", "sbom", name))
            assert [c["purl"] for c in bill["components"]] == ["pkg:pypi/flask@3.0"]
            said = json.loads(await elsewhere.fairway("image", "provenance", name))
            resolved = {one["uri"]: one["digest"] for one in said["predicate"]["buildDefinition"]["resolvedDependencies"]}
            head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=source, capture_output=True, text=True, check=True).stdout
            assert {"gitCommit": head.strip()} in resolved.values()
            assert resolved[f"pkg:docker/{base}"] == {"sha256": base_digest.removeprefix("sha256:")}
            await scans(elsewhere, name, tmp_path / "osv")

    async def scans(shell: Shell, name: str, database: Path) -> None:
        database.mkdir()
        scan = ("image", "scan", name, "--database", str(database), "--max-age", "876000h")
        assert "there is no OSV record" in await shell.fairway(*scan, code=1)
        affected = {"package": {"ecosystem": "PyPI", "name": "Flask"},
                    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.0.1"}]}]}
        (database / "one.json").write_text(json.dumps({
            "id": "CVE-2030-1", "modified": "2026-01-01T00:00:00Z", "summary": "a fault", "affected": [affected],
            "database_specific": {"severity": "HIGH"}}))  # fmt: skip
        sarif = database.parent / "scan.sarif"
        text = await shell.fairway(*scan, "--sarif", str(sarif), code=1)
        assert "CVE-2030-1" in text and "3.0.1" in text
        assert json.loads(sarif.read_text())["runs"][0]["results"][0]["ruleId"] == "CVE-2030-1"
        assert "0 of them fail" in await shell.fairway(*scan, "--severity", "critical")

    asyncio.run(run())


def test_a_base_of_another_python_and_an_image_that_is_too_large_are_refused(tmp_path: Path) -> None:
    async def run() -> None:
        shell = Shell(tmp_path)
        local = LocalRegistry(shell.state / "registry")
        base_image(local.layout("registry.example.com/base/python"), "2.7.18")
        source = project(tmp_path / "app", "registry.example.com/base/python:1")
        too_large = await shell.fairway("image", "build", str(source), "--max-size", "10B", code=1)
        assert "at most 0.0 MB are allowed" in too_large
        (source / "requirements.txt").write_text("")
        (source / "Dockerfile").write_text("FROM registry.example.com/base/python:1\nCOPY requirements.txt ./\n"
                                           "RUN pip install -r requirements.txt\n")
        said = await shell.fairway("image", "build", str(source), "--base", "registry", code=1)
        assert f"has python2.7, the dependencies are built for python{PYTHON}" in said

    asyncio.run(run())


def test_a_dockerfile_beyond_our_builder_is_built_by_buildah_where_it_is(tmp_path: Path) -> None:
    if not shutil.which("buildah"):
        pytest.skip("buildah is not installed: Dockerfiles beyond the subset are refused with that mend")

    async def run() -> None:
        shell = Shell(tmp_path)
        source = tmp_path / "app"
        source.mkdir()
        (source / "one.txt").write_text("one")
        (source / "Dockerfile").write_text("FROM scratch AS first\nCOPY one.txt /one.txt\nFROM scratch\n"
                                           "COPY --from=first /one.txt /two.txt\nLABEL answer=42\n")
        await shell.fairway("image", "build", str(source), "-t", "registry.example.com/shop/app:1", "--push")
        shown = json.loads(await shell.fairway("image", "inspect", "registry.example.com/shop/app:1", "-o", "json"))
        assert shown["config"]["Labels"]["answer"] == "42"

    asyncio.run(run())


def small_root(folder: Path) -> None:
    """A shell, `cat`, and the libraries of this machine that they need."""
    for program in ("sh", "cat", "rm"):
        found = shutil.which(program)
        assert found is not None
        libraries = subprocess.run(["ldd", found], capture_output=True, text=True, check=True).stdout
        for path in [found, *re.findall(r"(/\S+) \(0x", libraries)]:
            place = folder / (f"bin/{program}" if path == found else path.lstrip("/"))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)


def test_buildah_runs_commands_on_a_base_of_the_embedded_registry_and_leaves_nothing_behind(tmp_path: Path) -> None:
    if not shutil.which("buildah"):
        pytest.skip("buildah is not installed: Dockerfiles with other RUN lines are refused with that mend")

    def kept() -> set[str]:
        argv = ["buildah", "images", "--all", "--quiet", "--no-trunc"]
        listed = subprocess.run(argv, capture_output=True, text=True, check=True)
        return set(listed.stdout.split())

    async def run() -> None:
        shell = Shell(tmp_path)
        before = kept()
        base = tmp_path / "base"
        small_root(base / "root")
        (base / "Dockerfile").write_text("FROM scratch\nCOPY root/ /\nRUN echo from the base > /said.txt\n")
        await shell.fairway("image", "build", str(base), "-t", "registry.invalid/base/tools:1", "--push")
        app = tmp_path / "app"
        app.mkdir()
        (app / "kept.txt").write_text("kept")
        (app / ".dockerignore").write_text("secret.txt\n")
        (app / "secret.txt").write_text("secret")
        (app / "Dockerfile").write_text(
            "ARG VERSION=0\nFROM registry.invalid/base/tools:${VERSION} AS made\nARG WHO\n"
            "RUN cat /said.txt > /result.txt && echo hello $WHO >> /result.txt\nCOPY . /app\n"
            "FROM made\nRUN rm /said.txt\nLABEL answer=42\nENTRYPOINT [\"/bin/cat\"]\nCMD [\"/result.txt\"]\n")
        metadata = tmp_path / "metadata.json"
        await shell.fairway(
            "image", "build", str(app), "-t", "registry.example.com/shop/app:1", "--push", "--build-arg", "VERSION=1",
            "--build-arg", "WHO=world", "--label", "more=yes", "--metadata-file", str(metadata))
        assert "buildah builds it" in shell.said
        assert "RUN cat /said.txt" in shell.said, "the build is heard"
        local = LocalRegistry(shell.state / "registry")
        found = local.resolve(parse_reference("registry.example.com/shop/app:1"))
        assert json.loads(metadata.read_text())["containerimage.digest"] == found.digest
        unpack(local.layout("registry.example.com/shop/app"), found.digest, tmp_path / "root")
        assert (tmp_path / "root" / "result.txt").read_text() == "from the base\nhello world\n"
        assert not (tmp_path / "root" / "said.txt").exists(), "a whiteout is heeded"
        copied = sorted(path.name for path in (tmp_path / "root" / "app").iterdir())
        assert copied == [".dockerignore", "Dockerfile", "kept.txt"]
        shown = json.loads(await shell.fairway("image", "inspect", "registry.example.com/shop/app:1", "-o", "json"))
        assert (shown["config"]["Labels"]["answer"], shown["config"]["Labels"]["more"]) == ("42", "yes")
        (app / "Dockerfile").write_text("FROM registry.invalid/base/tools:1\nRUN echo trying && exit 7\n")
        failed = await shell.fairway("image", "build", str(app), "-t", "registry.example.com/shop/app:2", code=1)
        assert "buildah could not build Dockerfile" in failed
        assert "trying" in failed
        assert kept() == before

    asyncio.run(run())


def test_a_builder_with_a_fixed_time_gives_the_same_digest_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("buildah"):
        pytest.skip("buildah is not installed")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")

    async def run() -> None:
        shell = Shell(tmp_path)
        source = tmp_path / "app"
        source.mkdir()
        (source / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /here\nLABEL a=b\n")
        made = [(await shell.fairway("image", "build", str(source), "--builder", "buildah")).splitlines()[-1] for _ in range(2)]
        assert made[0] == made[1]
        assert made[0].startswith("sha256:")

    asyncio.run(run())


def test_save_and_load_and_tag_keep_the_digest(tmp_path: Path) -> None:
    async def run() -> None:
        shell = Shell(tmp_path)
        local = LocalRegistry(shell.state / "registry")
        digest = base_image(local.layout("registry.example.com/base/python"))
        await shell.fairway("image", "save", "registry.example.com/base/python:1", str(tmp_path / "out"))
        await shell.fairway("image", "load", str(tmp_path / "out"), "registry.example.com/copy/python:2")
        await shell.fairway("image", "tag", "registry.example.com/copy/python:2", "registry.example.com/copy/python:3")
        rows = json.loads(await shell.fairway("image", "list", "-o", "json"))
        assert {row["digest"] for row in rows} == {digest}
        assert [row["tag"] for row in rows] == ["1", "2", "3"]

    asyncio.run(run())
