"""`fairway app create|set|delete`: what an Application is, said on the command line.

Where git holds the Applications themselves (an app of apps), change them there: what is said here would be taken back.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from fairway.cli.app_live import client_of, namespace_option
from fairway.cli.errors import CommandError, Misused
from fairway.cli.progress import waiting
from fairway.kube.objects import Obj, annotations_of, dig, meta_of
from fairway.kube.resources import APPLICATIONS
from fairway.state import StateDir

_FINALIZER = "resources-finalizer.argocd.argoproj.io"
_TRACKING = "argocd.argoproj.io/tracking-id"
_PARTS: list[Any] = [
    click.option("--repo", default=None, help="URL or name of the repository."),
    click.option("--path", default=None, help="Folder in it."),
    click.option("--revision", default=None, help="Branch, tag, commit or version constraint."),
    click.option("--dest-server", default=None, help="Cluster, by its address."),
    click.option("--dest-name", default=None, help="Cluster, by its name."),
    click.option("--dest-namespace", default=None, help="Namespace of its objects."),
    click.option("--project", default=None, help="Its AppProject."),
    click.option("--sync-policy", type=click.Choice(["none", "manual", "automated", "auto"]), default=None,
                 help="Whether it syncs by itself."),
    click.option("--auto-prune/--no-auto-prune", default=None, help="Delete what git no longer describes."),
    click.option("--self-heal/--no-self-heal", default=None, help="Take changes by others back."),
    click.option("--allow-empty/--no-allow-empty", default=None, help="Also where git describes nothing at all."),
    click.option("--sync-option", "options", multiple=True, metavar="NAME=VALUE", help="Such as CreateNamespace=true; "
                 "with ! in front it is taken away."),
    click.option("--sync-retry-limit", type=int, default=None, help="How often a failed sync is tried again."),
    click.option("--revision-history-limit", type=int, default=None, help="How many deployments are remembered."),
    click.option("--kustomize-image", "images", multiple=True, metavar="NAME=REF", help="Another image."),
    click.option("--nameprefix", default=None, help="Kustomize: in front of all names."),
    click.option("--values", "value_files", multiple=True, metavar="FILE", help="Helm: a values file of the repository."),
    click.option("-p", "--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="Helm: one value."),
    click.option("--directory-recurse/--no-directory-recurse", default=None, help="Plain folders: those below, too."),
]  # fmt: skip


def _with_parts(command: Any) -> Any:
    for option in reversed(_PARTS):
        command = option(command)
    return command


@click.command()
@click.argument("name", required=False)
@click.option("-f", "--file", "file", type=click.Path(path_type=Path), help="An Application as YAML; - is standard input.")
@click.option("--upsert", is_flag=True, help="Change it where it is there already.")
@click.option("--set-finalizer", is_flag=True, help="Its objects go with it.")
@_with_parts
@namespace_option
@click.pass_obj
def create(state: StateDir, /, name: str | None, file: Path | None, upsert: bool, set_finalizer: bool, namespace: str,
           **parts: Any) -> None:
    """Create an Application, from options or from a file."""
    app = _from_file(file) if file is not None else {}
    meta = app.setdefault("metadata", {})
    meta |= {"name": name or meta.get("name"), "namespace": meta.get("namespace") or namespace}
    if not meta["name"]:
        raise Misused("a name is needed, as an argument or in the file")
    if set_finalizer:
        meta["finalizers"] = sorted({*(meta.get("finalizers") or ()), _FINALIZER})
    spec = _changed(app.get("spec") or {"project": "default", "source": {}, "destination": {}}, parts)
    if not dig(spec, "source", "repoURL") and not spec.get("sources"):
        raise Misused("--repo is needed: the repository that describes it")
    destination = spec.setdefault("destination", {})
    if not destination.get("server") and not destination.get("name"):
        destination["server"] = "https://kubernetes.default.svc"
    made = {"apiVersion": APPLICATIONS.api_version, "kind": APPLICATIONS.kind, **app, "spec": spec}
    client = client_of(state)
    present = client.find(APPLICATIONS, meta["name"], meta["namespace"])
    if present is None:
        client.create(APPLICATIONS, made)
        click.echo(f"application {meta['name']!r} created")
    elif present.get("spec") == spec:
        click.echo(f"application {meta['name']!r} is so already")
    elif upsert:
        client.apply(APPLICATIONS, made)
        click.echo(f"application {meta['name']!r} updated")
    else:
        raise CommandError(f"application {meta['name']!r} exists and is another one", mend="change it with --upsert")


def _from_file(file: Path) -> Obj:
    from fairway.manifests import ManifestError, yaml

    try:
        found = yaml.load(sys.stdin.read() if str(file) == "-" else file.read_text(), str(file))
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    except ManifestError as error:
        raise CommandError(str(error)) from error
    if not isinstance(found, dict) or found.get("kind") != APPLICATIONS.kind:
        raise CommandError(f"{file}: it is no Application")
    return found


@click.command("set")
@click.argument("name")
@_with_parts
@namespace_option
@click.pass_obj
def set_(state: StateDir, /, name: str, namespace: str, **parts: Any) -> None:
    """Change an Application's spec, and leave the rest as it is."""
    client = client_of(state)
    app = client.get(APPLICATIONS, name, namespace)
    spec = _changed(app["spec"], parts)
    if spec == app["spec"]:
        click.echo(f"application {name!r} is so already")
        return
    owner = annotations_of(app).get(_TRACKING, "").partition(":")[0]
    if owner:
        raise CommandError(f"application {name!r} is part of application {owner!r}, which would take this back",
                           mend="change it in git")
    if any(ref.get("kind") == "ApplicationSet" for ref in meta_of(app).get("ownerReferences") or ()):
        raise CommandError(f"application {name!r} is made by an ApplicationSet, which would take this back",
                           mend="change its template or its generators")
    client.patch(APPLICATIONS, name, namespace, {"spec": spec})
    click.echo(f"application {name!r} updated")


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--cascade/--no-cascade", default=True, show_default=True, help="Its objects go with it.")
@click.option("--propagation-policy", type=click.Choice(["foreground", "background"]), default="foreground", show_default=True,
              help="How they go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", "waits", is_flag=True, help="Until it is gone.")
@namespace_option
@click.pass_obj
def delete(state: StateDir, names: tuple[str, ...], cascade: bool, propagation_policy: str, yes: bool, waits: bool,
           namespace: str) -> None:
    """Delete Applications, with all of their objects unless --no-cascade is given."""
    client = client_of(state)
    for name in names:
        app = client.get(APPLICATIONS, name, namespace)
        count = len(dig(app, "status", "resources", default=[]))
        what = f"{name} and its {count} objects" if cascade else f"{name}; its {count} objects stay"
        if not yes and not (sys.stdin.isatty() and click.confirm(f"Delete {what}?")):
            raise CommandError(f"{name} was not deleted", mend="say that it is meant, with --yes")
        kept = [f for f in meta_of(app).get("finalizers") or () if not f.startswith(_FINALIZER)]
        ours = _FINALIZER + ("/background" if propagation_policy == "background" else "")
        finalizers = [*kept, ours] if cascade else kept
        client.patch(APPLICATIONS, name, namespace, {"metadata": {"finalizers": finalizers or None}})
        client.delete(APPLICATIONS, name, namespace)
        if waits:
            with waiting(f"delete {name}") as tick:
                began = time.monotonic()
                while client.find(APPLICATIONS, name, namespace) is not None:
                    time.sleep(0.2)
                    tick(time.monotonic() - began)
        click.echo(f"application {name!r} deleted")


# --- the spec -----------------------------------------------------------------------------------------------------------


def _changed(spec: Obj, parts: dict[str, Any]) -> Obj:
    """The spec with what was said on the command line."""
    given = {key: value for key, value in parts.items() if value not in (None, ())}
    source, destination = dict(spec.get("source") or {}), dict(spec.get("destination") or {})
    if spec.get("sources") and any(key in given for key in ("repo", "path", "revision", "images", "value_files", "parameters")):
        raise CommandError("it has several sources, and the command line cannot say which is meant",
                           mend="change spec.sources with kubectl edit, or in git")
    for option, where, key in (("repo", source, "repoURL"), ("path", source, "path"), ("revision", source, "targetRevision"),
                               ("dest_server", destination, "server"), ("dest_name", destination, "name"),
                               ("dest_namespace", destination, "namespace")):
        if option in given:
            where[key] = given[option]
    _source_options(source, given)
    found = {**spec, "destination": destination, **({} if spec.get("sources") else {"source": source})}
    for option, key in (("project", "project"), ("revision_history_limit", "revisionHistoryLimit")):
        if option in given:
            found[key] = given[option]
    policy = _policy(dict(spec.get("syncPolicy") or {}), given)
    return {**found, "syncPolicy": policy} if policy else {k: v for k, v in found.items() if k != "syncPolicy"}


def _source_options(source: Obj, given: dict[str, Any]) -> None:
    if "images" in given:
        images = {str(i).partition("=")[0]: str(i) for i in dig(source, "kustomize", "images", default=[])}
        images |= {image.partition("=")[0]: image for image in given["images"]}
        source["kustomize"] = {**(source.get("kustomize") or {}), "images": list(images.values())}
    if "nameprefix" in given:
        source["kustomize"] = {**(source.get("kustomize") or {}), "namePrefix": given["nameprefix"]}
    if "value_files" in given:
        source["helm"] = {**(source.get("helm") or {}), "valueFiles": list(given["value_files"])}
    if "parameters" in given:
        said = {p["name"]: p for p in dig(source, "helm", "parameters", default=[])}
        said |= {name: {"name": name, "value": value} for name, value in map(_pair, given["parameters"])}
        source["helm"] = {**(source.get("helm") or {}), "parameters": list(said.values())}
    if "directory_recurse" in given:
        source["directory"] = {**(source.get("directory") or {}), "recurse": given["directory_recurse"]}


def _policy(policy: Obj, given: dict[str, Any]) -> Obj:
    automated = policy.get("automated")
    if given.get("sync_policy") in ("none", "manual"):
        policy.pop("automated", None)
        automated = None
    elif given.get("sync_policy") in ("automated", "auto"):
        automated = dict(automated or {})
    details = {key: given[option] for option, key in (
        ("auto_prune", "prune"), ("self_heal", "selfHeal"), ("allow_empty", "allowEmpty")) if option in given}
    if details and automated is None:
        raise Misused("--auto-prune, --self-heal and --allow-empty are of the automation: add --sync-policy automated")
    if automated is not None:
        policy["automated"] = {**automated, **details}
    if "options" in given:
        policy["syncOptions"] = _options(policy.get("syncOptions") or (), given["options"])
    if "sync_retry_limit" in given:
        policy["retry"] = {**(policy.get("retry") or {}), "limit": given["sync_retry_limit"]}
    return policy


def _options(present: Iterable[str], asked: Iterable[str]) -> list[str]:
    found = {option.partition("=")[0]: option for option in present}
    for option in asked:
        if option.startswith("!"):
            found.pop(option[1:].partition("=")[0], None)
        else:
            name, _ = _pair(option)
            found[name] = option
    return list(found.values())


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Misused(f"{text!r}: NAME=VALUE is needed")
    return name, value
