"""What is installed in an image: Python distributions and Debian packages, read from its layers without unpacking it.

Later layers win, whiteouts count. Sources: the core metadata of Python packages, dpkg's status file, os-release.
"""

from __future__ import annotations

import email
import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from fairway.images.layout import BadBlob, Layout

_METADATA = re.compile(r"(?:^|/)(?:site|dist)-packages/([^/]+)\.dist-info/METADATA$")
_DPKG = re.compile(r"^var/lib/dpkg/(?:status|status\.d/[^/]+)$")
_RELEASE = re.compile(r"^(?:etc|usr/lib)/os-release$")
_LARGEST = 32 * 1024 * 1024  # dpkg's status of a full desktop has 5 MB


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """`kind` is `pypi` or `deb`; `release` the Debian release (`12`) of a `deb`. `licence` as the package says it."""

    kind: str
    name: str
    version: str
    release: str = ""
    source: str = ""
    """The source package of a `deb`: advisories name that."""
    licence: str = ""

    @property
    def purl(self) -> str:
        """Package URL. Source: package-url/purl-spec."""
        if self.kind == "pypi":
            return f"pkg:pypi/{self.name}@{_quoted(self.version)}"
        distro = f"?distro=debian-{self.release}" if self.release else ""
        return f"pkg:deb/debian/{_quoted(self.name)}@{_quoted(self.version)}{distro}"


def packages_of(layout: Layout, digest: str) -> tuple[Package, ...]:
    """The packages of the image with this manifest, sorted. Raises `BadBlob`."""
    found: dict[str, bytes] = {}
    for layer in layout.read_json(digest)["layers"]:
        for name, content in _telling(layout.read(layer["digest"])):
            if content is None:
                found = {path: kept for path, kept in found.items() if path != name and not path.startswith(f"{name}/")}
            else:
                found[name] = content
    release = next((text for path, text in sorted(found.items()) if _RELEASE.match(path)), b"")
    packages: set[Package] = set()
    for path, content in found.items():
        if _METADATA.search(path):
            packages.update(_distribution(content))
        elif _DPKG.match(path):
            packages.update(_debian(content.decode("utf-8", "replace"), _release(release)))
    return tuple(sorted(packages))


def normalized(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _telling(blob: bytes) -> Iterator[tuple[str, bytes | None]]:
    """Files of a layer that tell of packages; None for a path that the layer takes away."""
    try:
        with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
            for entry in archive:
                name = entry.name.removeprefix("./").lstrip("/")
                folder, _, last = name.rpartition("/")
                if last.startswith(".wh."):
                    yield (folder if last == ".wh..wh..opq" else f"{folder}/{last[4:]}".lstrip("/")), None
                elif entry.isfile() and entry.size <= _LARGEST and (
                        _METADATA.search(name) or _DPKG.match(name) or _RELEASE.match(name)):
                    file = archive.extractfile(entry)
                    yield name, file.read() if file else b""
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BadBlob(f"a layer is not a tar archive: {error}") from error


def _distribution(content: bytes) -> Iterator[Package]:
    headers = email.message_from_bytes(content.partition(b"\n\n")[0])
    name, version = headers.get("Name"), headers.get("Version")
    if name and version:
        licence = headers.get("License-Expression") or ""
        yield Package("pypi", normalized(str(name)), str(version).strip(), licence=str(licence))


def _debian(text: str, release: str) -> Iterator[Package]:
    for block in text.split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.splitlines() if line[:1].strip())
        if "installed" not in fields.get("Status", "install ok installed").split()[-1:]:
            continue
        if fields.get("Package") and fields.get("Version"):
            source = fields.get("Source", fields["Package"]).partition(" ")[0]
            yield Package("deb", fields["Package"], fields["Version"], release, source)


def _release(text: bytes) -> str:
    m = re.search(rb'^VERSION_ID="?([^"\n]+)"?$', text, re.MULTILINE)
    return m[1].decode() if m and re.search(rb"^ID=\"?debian\"?$", text, re.MULTILINE) else ""


def _quoted(text: str) -> str:
    return text.replace("%", "%25").replace("+", "%2B").replace(":", "%3A").replace("~", "~")
