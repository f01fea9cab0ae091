"""How an Application is shown to people."""

from __future__ import annotations

from collections.abc import Iterator

from fairway.cli.output import table
from fairway.kube.objects import Obj, dig, meta_of, spec_of, status_of


def summary(app: Obj) -> str:
    """What it is, how it stands and why, and its objects."""
    resources = resource_table(app)
    return facts(app) + (f"\n\n{resources}" if resources else "")


def facts(app: Obj) -> str:
    """One line for each thing worth knowing."""
    status, source = status_of(app), main_source(app)
    operation = status.get("operationState") or {}
    rows = [
        ("Name", f"{meta_of(app).get('namespace')}/{meta_of(app)['name']}"),
        ("Project", spec_of(app).get("project", "default")),
        ("Server", dig(app, "spec", "destination", "name") or dig(app, "spec", "destination", "server") or "in-cluster"),
        ("Namespace", dig(app, "spec", "destination", "namespace", default="")),
        ("Repo", source.get("repoURL", "")), ("Target", source.get("targetRevision") or "HEAD"),
        ("Path", source.get("path", "")), ("Chart", source.get("chart", "")), ("Sync Policy", _policy(app)),
        ("Sync Status", f"{dig(status, 'sync', 'status', default='Unknown')} "
                        f"({dig(status, 'sync', 'revision', default='')[:7] or 'no revision'})"),
        ("Health Status", _joined(dig(status, "health", "status", default="Unknown"), dig(status, "health", "message"))),
        ("Images", ", ".join(dig(status, "summary", "images", default=[]))),
        ("URLs", ", ".join(dig(status, "summary", "externalURLs", default=[]))),
        ("Operation", _joined(operation.get("phase", ""), operation.get("message")) if operation else ""),
        *_info(app),
        *(("Why", f"{reason['type']}: {reason['message']}") for reason in status.get("reasons") or ()),
        *((entry["type"], entry["message"]) for entry in status.get("conditions") or ()),
    ]  # fmt: skip
    rows = [(f"{label}:", value) for label, value in rows if value]
    width = max(len(label) for label, _ in rows) + 1
    return "\n".join(f"{label:<{max(width, 16)}}{value}" for label, value in rows)


def _info(app: Obj) -> Iterator[tuple[str, str]]:
    for entry in spec_of(app).get("info") or ():
        yield str(entry.get("name")), str(entry.get("value"))


def _policy(app: Obj) -> str:
    automated = dig(app, "spec", "syncPolicy", "automated")
    if automated is None or automated.get("enabled") is False:
        return "Manual"
    more = [word for word, key in (("Prune", "prune"), ("Self Heal", "selfHeal")) if automated.get(key)]
    return "Automated" + (f" ({', '.join(more)})" if more else "")


def resource_table(app: Obj) -> str:
    resources = status_of(app).get("resources") or ()
    if not resources:
        return ""
    said = {(r.get("group", ""), r["kind"], r.get("namespace", ""), r["name"]): r.get("message", "")
            for r in dig(app, "status", "operationState", "syncResult", "resources", default=[]) if not r.get("hookType")}
    return table(("GROUP", "KIND", "NAMESPACE", "NAME", "STATUS", "HEALTH", "MESSAGE"), [
        (r.get("group", ""), r["kind"], r.get("namespace", ""), r["name"], r.get("status", ""),
         dig(r, "health", "status", default=""), dig(r, "health", "message") or said.get(
             (r.get("group", ""), r["kind"], r.get("namespace", ""), r["name"]), "")) for r in resources])


def operation_table(app: Obj) -> str:
    """The last sync, object by object, hooks included."""
    rows = dig(app, "status", "operationState", "syncResult", "resources", default=[])
    return table(("PHASE", "KIND", "NAME", "STATUS", "HOOK", "MESSAGE"), [
        (r.get("syncPhase", ""), r["kind"], r["name"], r.get("hookPhase") if r.get("hookType") else r.get("status", ""),
         r.get("hookType", ""), r.get("message", "")) for r in rows]) if rows else ""


def main_source(app: Obj) -> Obj:
    """The source, or the first of several that describes objects."""
    several: list[Obj] = spec_of(app).get("sources") or []
    found: Obj = next((s for s in several if s.get("path") or s.get("chart")), dig(app, "spec", "source", default={}))
    return found


def _joined(word: str, message: str | None) -> str:
    return f"{word} ({message})" if message else word
