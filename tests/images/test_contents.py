"""What is in an image, where it comes from, what is known against it."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from fairway.images.advisories import NoDatabase, Vulnerability, load, matches
from fairway.images.cvss import base_score, rating
from fairway.images.findings import as_sarif, as_trivy
from fairway.images.layers import layer_of
from fairway.images.layout import CONFIG, MANIFEST, Layout, encode
from fairway.images.packages import Package, packages_of
from fairway.images.provenance import Ingredient, Source, statement
from fairway.images.reference import parse_reference
from fairway.images.sbom import bill_of_materials
from fairway.images.versions import Incomparable, key_for

NOW = datetime(2030, 1, 10, tzinfo=UTC)
WEEK = timedelta(days=7)
NAME = parse_reference("registry.example.com/shop/app:1.0")
DPKG = b"""Package: libssl3
Status: install ok installed
Source: openssl (3.0.11-1)
Version: 3.0.11-1~deb12u2

Package: gone
Status: deinstall ok config-files
Version: 1.0

Package: bash
Status: install ok installed
Version: 5.2.15-2+b2
"""
OS_RELEASE = b'ID=debian\nVERSION_ID="12"\n'


def metadata(name: str, version: str) -> bytes:
    return f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: MIT\n\nA text: with colons\n".encode()


def image(folder: Path, *layers: dict[str, bytes]) -> tuple[Layout, str]:
    layout = Layout(folder / "layout")
    made = [layer_of(dict(files)) for files in layers]
    for one in made:
        layout.write(one.data, one.descriptor.media_type)
    config = layout.write(encode({"config": {}}), CONFIG).as_json()
    document = {"mediaType": MANIFEST, "config": config, "layers": [one.descriptor.as_json() for one in made]}
    return layout, layout.write(encode(document), MANIFEST).digest


def test_packages_are_read_from_the_layers_and_later_layers_win(tmp_path: Path) -> None:
    site = "usr/local/lib/python3.12/site-packages"
    layout, digest = image(
        tmp_path,
        {"var/lib/dpkg/status": DPKG, "etc/os-release": OS_RELEASE,
         f"{site}/Flask_Login-0.6.dist-info/METADATA": metadata("Flask_Login", "0.6"),
         f"{site}/old-1.dist-info/METADATA": metadata("old", "1")},
        {f"{site}/.wh.old-1.dist-info": b"", f"{site}/new-2.dist-info/METADATA": metadata("new", "2.0+local")},
    )  # fmt: skip
    assert packages_of(layout, digest) == (
        Package("deb", "bash", "5.2.15-2+b2", "12", "bash"),
        Package("deb", "libssl3", "3.0.11-1~deb12u2", "12", "openssl"),
        Package("pypi", "flask-login", "0.6", licence="MIT"),
        Package("pypi", "new", "2.0+local", licence="MIT"),
    )


def test_the_bill_of_materials_is_valid_cyclonedx_and_always_the_same() -> None:
    packages = (Package("deb", "libssl3", "1:3.0.11-1~deb12u2", "12", "openssl"),
                Package("pypi", "flask", "3.0", licence="MIT"))
    text = bill_of_materials(NAME, "sha256:" + "a" * 64, packages)
    assert text == bill_of_materials(NAME, "sha256:" + "a" * 64, packages)
    folder = resources.files("cyclonedx.schema").joinpath("_res")
    schemas = {name: json.loads(folder.joinpath(f"{name}.SNAPSHOT.schema.json").read_text())
               for name in ("bom-1.6", "spdx", "jsf-0.82")}  # fmt: skip
    registry = jsonschema_rs.Registry(
        [(f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", schema) for name, schema in schemas.items()])
    jsonschema_rs.Draft7Validator(schemas["bom-1.6"], registry=registry).validate(json.loads(text))
    assert [c["purl"] for c in json.loads(text)["components"]] == [
        "pkg:deb/debian/libssl3@1%3A3.0.11-1~deb12u2?distro=debian-12", "pkg:pypi/flask@3.0"]


def test_provenance_names_the_commit_and_what_went_in_but_no_value_of_an_argument() -> None:
    text = statement([NAME], "sha256:" + "a" * 64, dockerfile="Dockerfile", target="", arguments=["TOKEN"],
                     source=Source("https://git.example.com/shop/app", "c" * 40, "refs/heads/main"),
                     ingredients=[Ingredient("pkg:docker/python:3.12", {"sha256": "b" * 64})], started=NOW, finished=NOW)
    said = json.loads(text)
    assert said["subject"] == [{"name": "registry.example.com/shop/app", "digest": {"sha256": "a" * 64}}]
    definition = said["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["buildArgs"] == ["TOKEN"]
    assert definition["resolvedDependencies"] == [
        {"uri": "git+https://git.example.com/shop/app@refs/heads/main", "digest": {"gitCommit": "c" * 40}},
        {"uri": "pkg:docker/python:3.12", "digest": {"sha256": "b" * 64}}]


def test_a_dirty_folder_does_not_claim_the_commit() -> None:
    text = statement([NAME], "sha256:" + "a" * 64, dockerfile="Dockerfile", target="", arguments=[],
                     source=Source("app", "c" * 40, dirty=True), ingredients=[], started=NOW, finished=NOW)
    (commit,) = json.loads(text)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert "digest" not in commit and commit["annotations"] == {"dirty": True, "gitCommit": "c" * 40}


@pytest.mark.parametrize(
    ("ecosystem", "ordered"),
    [
        ("PyPI", ["1.0.dev1", "1.0a1", "1.0", "1.0.post1", "1.10"]),
        ("Debian", ["1.0~rc1", "1.0~rc1-1", "1.0", "1.0-1", "1.0-1+b2", "1.0-1.1", "1.0a", "1.0.1", "1.10", "1:0.1"]),
    ],
)
def test_versions_are_in_their_ecosystems_order(ecosystem: str, ordered: list[str]) -> None:
    key = key_for(ecosystem)
    assert sorted([*ordered[1:], ordered[0]], key=key) == ordered


def test_what_is_no_version_is_said() -> None:
    with pytest.raises(Incomparable):
        key_for("PyPI")("not a version")


@pytest.mark.parametrize(
    ("vector", "score", "word"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8, "critical"),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1, "medium"),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0, "critical"),
        ("CVSS:3.0/AV:L/AC:H/PR:L/UI:N/S:U/C:N/I:N/A:L", 2.5, "low"),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0, "none"),
    ],
)
def test_scores_are_those_of_the_specification(vector: str, score: float, word: str) -> None:
    assert base_score(vector) == score and rating(score) == word


def record(id: str, name: str = "flask", *, events: list[dict[str, str]] | None = None, ecosystem: str = "PyPI",
           **more: Any) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": events or [{"introduced": "0"}, {"fixed": "3.0.1"}]}]
    return {"id": id, "modified": "2030-01-08T00:00:00Z", "summary": f"{id} of {name}",
            "affected": [{"package": {"ecosystem": ecosystem, "name": name}, "ranges": ranges}], **more}


def found(tmp_path: Path, packages: tuple[Package, ...], *records: dict[str, Any]) -> tuple[Vulnerability, ...]:
    folder = tmp_path / "osv"
    folder.mkdir(parents=True)
    for one in records:
        (folder / f"{one['id']}.json").write_text(json.dumps(one))
    return matches(packages, load(folder, NOW, WEEK))


FLASK = Package("pypi", "flask", "3.0")


@pytest.mark.parametrize(
    ("events", "fixed"),
    [
        ([{"introduced": "0"}, {"fixed": "3.0.1"}], "3.0.1"),
        ([{"introduced": "2.0"}, {"fixed": "2.5"}, {"introduced": "3.0"}, {"fixed": "3.1"}], "3.1"),
        ([{"fixed": "3.1"}, {"introduced": "3.0"}], "3.1"),
        ([{"introduced": "0"}], ""),
        ([{"introduced": "0"}, {"last_affected": "3.0"}], ""),
        ([{"introduced": "0"}, {"fixed": "3.0"}], None),
        ([{"introduced": "3.0.1"}], None),
        ([{"introduced": "0"}, {"last_affected": "2.9"}], None),
    ],
)
def test_a_range_says_whether_a_version_is_affected_and_what_mends_it(
    tmp_path: Path, events: list[dict[str, str]], fixed: str | None
) -> None:
    known = found(tmp_path, (FLASK,), record("CVE-1", events=events))
    assert [v.fixed for v in known] == ([] if fixed is None else [fixed])


def test_records_about_one_fault_are_one_finding_with_the_worst_severity(tmp_path: Path) -> None:
    known = found(
        tmp_path, (FLASK,),
        record("PYSEC-1", aliases=["CVE-2030-1"]),
        record("GHSA-1", aliases=["CVE-2030-1"], database_specific={"severity": "HIGH"}),
        record("GHSA-2", withdrawn="2030-01-01T00:00:00Z"), record("GHSA-3", name="other"),
    )  # fmt: skip
    assert [(v.id, v.aliases, v.severity) for v in known] == [("CVE-2030-1", ("GHSA-1", "PYSEC-1"), "high")]


def test_debian_packages_are_matched_by_source_and_release(tmp_path: Path) -> None:
    package = Package("deb", "libssl3", "3.0.11-1~deb12u2", "12", "openssl")
    events = [{"introduced": "0"}, {"fixed": "3.0.13-1~deb12u1"}]
    known = found(tmp_path, (package,),
                  record("DEBIAN-1", "openssl", events=events, ecosystem="Debian:12"),
                  record("DEBIAN-2", "openssl", events=events, ecosystem="Debian:11"))  # fmt: skip
    assert [v.id for v in known] == ["DEBIAN-1"] and known[0].severity == "unknown"


def test_no_data_old_data_and_broken_data_are_no_clean_bill(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "absent", tmp_path / "absent.zip"):
        with pytest.raises(NoDatabase):
            load(path, NOW, WEEK)
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("CVE-1.json", json.dumps(record("CVE-1")))
    assert load(archive, NOW, WEEK).count == 1
    with pytest.raises(NoDatabase, match="the newest record is of 2030-01-08, 9 days ago; at most 7 are allowed"):
        load(archive, NOW + WEEK, WEEK)
    with zipfile.ZipFile(archive, "a") as out:
        out.writestr("CVE-2.json", "{")
    with pytest.raises(NoDatabase, match=r"CVE-2\.json is not JSON"):
        load(archive, NOW, WEEK)


def test_findings_are_read_by_the_gates_as_sarif_and_in_trivys_form(tmp_path: Path) -> None:
    from fairway.gates.forms.sarif import read_sarif

    known = found(tmp_path, (FLASK,), record("CVE-1", database_specific={"severity": "CRITICAL"}), record("CVE-2"))
    listed = read_sarif(as_sarif(NAME, known).decode()).listed
    assert [sorted(one.words) for one in listed] == [["critical", "error"], ["warning"]]
    (python, _debian) = as_trivy(NAME, known)["Results"]
    assert [v["Severity"] for v in python["Vulnerabilities"]] == ["CRITICAL", "UNKNOWN"]
