"""Images of small projects: reproducible, accepted by skopeo, and runnable after unpacking."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from fairway.images.build import Built, Request, build
from fairway.images.dockerfile import DockerfileError
from fairway.images.layout import Layout
from fairway.images.reference import parse_reference
from fairway.images.registry import LocalRegistry, UnknownImage
from fairway.images.unpack import EmbeddedImages, unpack

DOCKERFILE = """\
ARG PYTHON_VERSION=3.12
FROM python:${PYTHON_VERSION}-slim
ENV GREETING="good day" \\
    PYTHONUNBUFFERED=1
WORKDIR /srv/app
COPY hello ./hello
COPY pyproject.toml .
USER 10001
EXPOSE 8000
CMD ["python", "-m", "hello"]
"""


def project(folder: Path, dockerfile: str = DOCKERFILE) -> Request:
    (folder / "hello").mkdir(parents=True)
    (folder / "hello" / "__main__.py").write_text("import os\nprint(os.environ['GREETING'])\n")
    (folder / "hello" / "__pycache__").mkdir()
    (folder / "hello" / "__pycache__" / "x.pyc").write_bytes(b"not for the image")
    (folder / "hello" / "notes.txt").write_text("not for the image")
    (folder / "pyproject.toml").write_text("[project]\nname = 'hello'\n")
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / ".dockerignore").write_text("**/*.txt\n")
    return Request(folder, folder / "Dockerfile", folder.parent / "cache", labels={"org.opencontainers.image.revision": "abc"})


def built(folder: Path, into: Path, dockerfile: str = DOCKERFILE) -> Built:
    return build(project(folder, dockerfile), Layout(into))


def test_the_same_input_gives_the_same_digest_whatever_the_files_times_and_folder(tmp_path: Path) -> None:
    first = built(tmp_path / "one", tmp_path / "layout-1")
    second = project(tmp_path / "two")
    for path in second.context.rglob("*"):
        os.utime(path, (1, 1))
    assert build(second, Layout(tmp_path / "layout-2")).manifest.digest == first.manifest.digest
    (second.context / "hello" / "__main__.py").write_text("print('changed')\n")
    assert build(second, Layout(tmp_path / "layout-3")).manifest.digest != first.manifest.digest


def wheel(folder: Path, text: str) -> None:
    with zipfile.ZipFile(folder / "greeting-1.0-py3-none-any.whl", "w") as made:
        info = "greeting-1.0.dist-info"
        made.writestr("greeting.py", f"TEXT = {text!r}\n")
        made.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
        made.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr(f"{info}/RECORD", "")


def test_a_wheel_beside_the_requirements_is_installed_and_a_new_one_of_its_name_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "requirements.txt").write_text("./greeting-1.0-py3-none-any.whl\n")
    (tmp_path / "app" / "Dockerfile").write_text(
        "FROM python:3\nWORKDIR /app\nCOPY requirements.txt *.whl ./\nRUN pip install -r requirements.txt\n")
    found = []
    for number, text in enumerate(["one", "two"]):
        wheel(tmp_path / "app", text)
        layout = Layout(tmp_path / f"layout{number}")
        made = build(Request(tmp_path / "app", tmp_path / "app" / "Dockerfile", tmp_path / "cache", {}, {}), layout)
        unpack(layout, made.manifest.digest, tmp_path / f"root{number}")
        [file] = (tmp_path / f"root{number}").rglob("greeting.py")
        found.append(file.read_text())
    assert found == ["TEXT = 'one'\n", "TEXT = 'two'\n"]


def test_an_image_runs_after_it_was_pushed_and_unpacked(tmp_path: Path) -> None:
    registry, name = LocalRegistry(tmp_path / "registry"), parse_reference("registry.example.com/hello:1.0")
    image = built(tmp_path / "project", tmp_path / "layout")
    registry.push(Layout(tmp_path / "layout"), image.manifest, name)
    images = EmbeddedImages(registry, tmp_path / "unpacked")
    unpacked = asyncio.run(images.ensure(str(name.with_digest(image.manifest.digest))))
    assert unpacked.digest == image.manifest.digest
    assert unpacked.cmd == ("python", "-m", "hello")
    work = unpacked.root / unpacked.working_dir.strip("/")
    files = sorted(p.relative_to(work).as_posix() for p in work.rglob("*") if p.is_file())
    assert files == ["hello/__main__.py", "pyproject.toml"]
    said = subprocess.run([sys.executable, *unpacked.cmd[1:]], cwd=work, env=dict(unpacked.env), capture_output=True, text=True)
    assert said.stdout == "good day\n"


def test_two_pods_that_ask_at_once_get_one_root(tmp_path: Path) -> None:
    registry, name = LocalRegistry(tmp_path / "registry"), parse_reference("registry.example.com/hello:1.0")
    registry.push(Layout(tmp_path / "layout"), built(tmp_path / "project", tmp_path / "layout").manifest, name)
    images = EmbeddedImages(registry, tmp_path / "unpacked")

    async def both() -> set[Path]:
        return {image.root for image in await asyncio.gather(*(images.ensure(str(name)) for _ in range(2)))}

    assert len(asyncio.run(both())) == 1
    assert len(list((tmp_path / "unpacked").iterdir())) == 1


def test_an_unknown_image_names_the_mend(tmp_path: Path) -> None:
    registry = LocalRegistry(tmp_path / "registry")
    with pytest.raises(UnknownImage, match=r"nothing was ever pushed to registry\.example\.com/hello here; build and push it"):
        registry.resolve(parse_reference("registry.example.com/hello:1.0"))
    registry.push(Layout(tmp_path / "layout"), built(tmp_path / "project", tmp_path / "layout").manifest,
                  parse_reference("registry.example.com/hello:1.0"))
    with pytest.raises(UnknownImage, match=r"has no tag '2.0' \(its last tags: 1.0\)"):
        registry.resolve(parse_reference("registry.example.com/hello:2.0"))


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed: its opinion of the layout is not asked")
def test_skopeo_accepts_the_layout(tmp_path: Path) -> None:
    name = parse_reference("registry.example.com/hello:1.0")
    image = built(tmp_path / "project", tmp_path / "layout")
    LocalRegistry(tmp_path / "registry").push(Layout(tmp_path / "layout"), image.manifest, name)
    where = f"oci:{tmp_path}/registry/{name.name}:1.0"
    said = subprocess.run(["skopeo", "inspect", where, "--format", "{{.Digest}} {{.Labels}}"],
                          capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(image.manifest.digest)
    assert "org.opencontainers.image.revision:abc" in said.stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("RUN apt-get install -y curl", "Dockerfile:2: RUN apt-get install -y curl needs a real builder"),
        ("RUN pip install -r requirements.txt", "Dockerfile:2: requirements.txt was not copied into the image before"),
        ("COPY nothing.txt /srv/", "Dockerfile:2: COPY nothing.txt finds no file in the build context"),
        ("COPY --from=build /install /usr/local", "Dockerfile:2: copies from 'build', which installs no requirements here"),
        ("!oops", "Dockerfile:2: '!oops' is not an instruction"),
    ],
)
def test_what_cannot_be_built_is_said_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        built(tmp_path / "project", tmp_path / "layout", f"FROM python:3.12-slim\n{line}\n")
    assert str(caught.value).startswith(message)
    assert ";" in str(caught.value)


def test_a_stage_in_the_middle_can_be_built(tmp_path: Path) -> None:
    staged = "FROM python AS first\nENV GREETING=one\nCOPY hello ./\nCMD [\"a\"]\nFROM first\nENV GREETING=two\n"
    request = project(tmp_path / "p", staged)

    def greeting(target: str) -> str:
        layout = Layout(tmp_path / f"out-{target}")
        config = layout.read_json(build(replace(request, target=target), layout).config_digest)
        return next(str(entry) for entry in config["config"]["Env"] if entry.startswith("GREETING="))

    assert [greeting(""), greeting("first"), greeting("1")] == ["GREETING=two", "GREETING=one", "GREETING=two"]
    with pytest.raises(DockerfileError, match="no stage is called 'lasst'; there are: first, 1"):
        greeting("lasst")
