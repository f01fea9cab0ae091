"""`fairway image sbom|provenance|scan`: what is in an image, where it comes from, and what is known against it."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fairway.cli.errors import CommandError, Misused
from fairway.cli.image_registry import reference_of
from fairway.cli.output import table
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.images.advisories import Vulnerability
    from fairway.images.layout import Descriptor
    from fairway.images.reference import Reference
    from fairway.images.registry import LocalRegistry

_registry_option = click.option("--registry", type=click.Path(path_type=Path), help="Folder of the embedded registry.")


def image_in(local: LocalRegistry, reference: Reference) -> tuple[Descriptor, str]:
    """(what the name names, the digest of this machine's image), which differ where it names an index."""
    from fairway.images.layout import BadBlob
    from fairway.images.platforms import NoPlatform, image_manifest, own_platform
    from fairway.images.registry import UnknownImage

    try:
        found = local.resolve(reference)
        return found, image_manifest(local.layout(reference.name), found, own_platform(platform.machine()))
    except (UnknownImage, NoPlatform, BadBlob) as error:
        raise CommandError(str(error)) from error


@click.command()
@click.argument("name")
@_registry_option
@click.pass_obj
def sbom(state: StateDir, name: str, registry: Path | None) -> None:
    """Print an image's bill of materials: the attached one, else one made from its layers (CycloneDX)."""
    from fairway.images.attach import SBOM, attached
    from fairway.images.packages import packages_of
    from fairway.images.registry import LocalRegistry
    from fairway.images.sbom import bill_of_materials

    local, reference = LocalRegistry(registry or state.registry), reference_of(name)
    found, digest = image_in(local, reference)
    layout = local.layout(reference.name)
    text = attached(layout, found.digest, SBOM) or bill_of_materials(reference, digest, packages_of(layout, digest))
    click.echo(json.dumps(json.loads(text), indent=2))


@click.command()
@click.argument("name")
@_registry_option
@click.pass_obj
def provenance(state: StateDir, name: str, registry: Path | None) -> None:
    """Print where an image comes from: the attached statement (in-toto, SLSA)."""
    from fairway.images.attach import PROVENANCE, attached
    from fairway.images.registry import LocalRegistry

    local, reference = LocalRegistry(registry or state.registry), reference_of(name)
    found, _ = image_in(local, reference)
    text = attached(local.layout(reference.name), found.digest, PROVENANCE)
    if text is None:
        raise CommandError(f"{reference}: nothing says where it comes from",
                           mend="build it with `fairway image build --provenance`")
    click.echo(json.dumps(json.loads(text), indent=2))


@click.command()
@click.argument("name")
@click.option("--database", required=True, type=click.Path(path_type=Path), envvar="FAIRWAY_ADVISORIES",
              help="Folder or zip of OSV records (FAIRWAY_ADVISORIES).")
@click.option("--max-age", default="168h", show_default=True, help="The advisories may be this old.")
@click.option("--severity", "severities", default="critical,high", show_default=True,
              help="These fail the scan, of: critical, high, medium, low, unknown.")
@click.option("--ignore-unfixed", is_flag=True, help="What no version mends does not fail the scan.")
@click.option("--sarif", "sarif_file", type=click.Path(path_type=Path), help="Also write the findings as SARIF.")
@click.option("--attach", "attached", is_flag=True, help="Attach the findings to the image.")
@_registry_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text",
              help="json: the report in Trivy's form, which gates read.")
@click.pass_obj
def scan(state: StateDir, name: str, database: Path, max_age: str, severities: str, ignore_unfixed: bool,
         sarif_file: Path | None, attached: bool, registry: Path | None, output: str) -> None:
    """Look for known vulnerabilities in an image's packages, offline. No usable data fails as well: exit 1."""
    from fairway.images.advisories import NoDatabase, load, matches
    from fairway.images.attach import SCAN, attach
    from fairway.images.findings import as_sarif, as_trivy
    from fairway.images.packages import packages_of
    from fairway.images.registry import LocalRegistry
    from fairway.kube.durations import parse_duration

    wanted = {word.strip() for word in severities.split(",") if word.strip()}
    if unknown := wanted - {"critical", "high", "medium", "low", "unknown"}:
        raise Misused(f"--severity {', '.join(sorted(unknown))} is none of critical, high, medium, low, unknown")
    try:
        age = parse_duration(max_age)
    except ValueError as error:
        raise Misused(f"--max-age: {error}") from None
    local, reference = LocalRegistry(registry or state.registry), reference_of(name)
    found, digest = image_in(local, reference)
    layout = local.layout(reference.name)
    packages = packages_of(layout, digest)
    if not packages:
        raise CommandError(f"{reference}: no package is known in it, so nothing was checked",
                           mend="an image without package metadata cannot be scanned; build it from one that has it")
    try:
        advisories = load(database, datetime.now(UTC), age)
    except NoDatabase as error:
        raise CommandError(str(error)) from error
    known = matches(packages, advisories)
    sarif = as_sarif(reference, known)
    if sarif_file:
        sarif_file.write_bytes(sarif)
    if attached:
        attach(layout, found, SCAN, sarif)
    failing = [v for v in known if v.severity in wanted and (v.fixed or not ignore_unfixed)]
    if output == "json":
        click.echo(json.dumps(as_trivy(reference, known), indent=2))
    else:
        click.echo(_text(reference, known, len(packages), advisories.count, failing))
    if failing:
        raise click.exceptions.Exit(1)


def _text(reference: Reference, known: Sequence[Vulnerability], packages: int, records: int,
          failing: Sequence[Vulnerability]) -> str:
    head = f"{reference}: {packages} packages against {records} advisories"
    if not known:
        return f"{head}: nothing is known against them"
    rows = [(v.severity, v.id, v.package.name, v.package.version, v.fixed or "-", v.summary[:60]) for v in known]
    return (f"{head}: {len(known)} known, {len(failing)} of them fail the scan\n"
            + table(("SEVERITY", "ID", "PACKAGE", "VERSION", "FIXED IN", "WHAT"), rows))


COMMANDS = (sbom, provenance, scan)
