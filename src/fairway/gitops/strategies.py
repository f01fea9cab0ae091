"""The comparisons that need no server: three-way against the last applied object, and structured merge. Pure.

Fairway compares by a dry-run apply (`comparison`), unless `compare-options: ServerSideDiff=false` asks for what Argo CD does
by default. These answer for an object alone, without an API: what applying `config` would make of `live`, defaults included,
by the type's own merge keys where the type is known.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Mapping
from typing import Any, cast

from fairway.gitops.compare import differing_fields
from fairway.kube.decoding import DecodeError, decode
from fairway.kube.defaults import apply_defaults
from fairway.kube.facts import facts
from fairway.kube.objects import Obj, annotations_of, group_of, meta_of
from fairway.kube.patches import apply
from fairway.kube.schema import ANY, Schema

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_SERVED = {"extensions/v1beta1": "apps/v1", "apps/v1beta1": "apps/v1", "apps/v1beta2": "apps/v1",
           "autoscaling/v2beta2": "autoscaling/v2", "policy/v1beta1": "policy/v1", "batch/v1beta1": "batch/v1"}
"""Versions that are no longer served have the shape of those that took over."""
_BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")
_RULES = ("Role", "ClusterRole")


def last_applied(live: Obj) -> Obj | None:
    """What `kubectl apply` said last; None where the annotation is absent or unreadable."""
    try:
        found = json.loads(annotations_of(live).get(LAST_APPLIED, ""))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def schema_of(obj: Obj) -> Schema | None:
    version = str(obj.get("apiVersion") or "")
    return facts().of_kind(_SERVED.get(version, version), str(obj.get("kind") or ""))


def three_way(config: Obj | None, live: Obj | None, *, ignore_aggregated: bool = False) -> list[str]:
    """The paths that applying `config` would change; against the last applied object where there is one."""
    if config is None or live is None:
        return [] if config is None else ["/"]
    config, live = prepared(config, ignore_aggregated), prepared(live, ignore_aggregated)
    said = last_applied(live)
    before = prepared(said, ignore_aggregated) if said is not None else config
    schema = schema_of(config)
    if schema is None and said is not None:
        live = {**_only(live, _union(before, config)), "metadata": live["metadata"]}
    predicted: Obj = _merged(bare(before), bare(config), live, schema or ANY)
    if schema is not None and config.get("kind") == "StatefulSet":
        predicted, live = _without_extra_claims(predicted, config), _without_extra_claims(live, config)
    return _compared(predicted, live, schema, ignore_aggregated)


def structured_merge(config: Obj, live: Obj, manager: str) -> list[str]:
    """The paths that a server-side apply of `config` as `manager` would change."""
    schema = schema_of(config)
    owners = apply.load_owners(live)
    bare, said = _without_bookkeeping(live), prepared(config)
    who = apply.Ownership(manager, str(config.get("apiVersion")), "", "")
    predicted, _ = apply.applied(bare, said, schema or ANY, owners, who, force=True)
    return _compared(predicted, bare, schema, False)


def _compared(predicted: Obj, live: Obj, schema: Schema | None, ignore_aggregated: bool) -> list[str]:
    sides = [prepared(_as_typed(prepared(side, ignore_aggregated), schema), ignore_aggregated) for side in (predicted, live)]
    return differing_fields(_without_bookkeeping(sides[1]), _without_bookkeeping(sides[0]))


def prepared(obj: Obj, ignore_aggregated: bool = False) -> Obj:
    """What both sides lose before they are compared: creation times, plain secrets, empty rules, unsorted endpoints."""
    found = {**obj, "metadata": {k: v for k, v in meta_of(obj).items() if k != "creationTimestamp"}}
    kind, group = found.get("kind"), group_of(str(found.get("apiVersion") or ""))
    if kind == "Secret" and group == "":
        _encode(found)
    if kind in _RULES and group == "rbac.authorization.k8s.io" and (
            found.get("rules") == [] or (ignore_aggregated and found.get("aggregationRule"))):
        found["rules"] = None
    if kind == "Endpoints" and group == "" and isinstance(found.get("subsets"), list):
        found["subsets"] = _sorted_subsets(found["subsets"])
    return found


def _encode(secret: Obj) -> None:
    data = dict(secret.get("data") or {})
    for name, value in (secret.pop("stringData", None) or {}).items():
        data[name] = base64.b64encode(str(value).encode()).decode()
    if data:
        secret["data"] = {name: "" if value is None else value for name, value in data.items()}


def _sorted_subsets(subsets: list[Any]) -> list[Any]:
    def settled(subset: Any) -> Any:
        ports = [{"protocol": "TCP", **port} for port in subset.get("ports") or ()]
        found = {**subset, "ports": sorted(ports, key=_text)}
        return {key: sorted(value, key=_text) if isinstance(value, list) else value for key, value in found.items()}

    return sorted((settled(subset) for subset in subsets), key=_text)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def bare(obj: Obj) -> Obj:
    """A desired object without what `kubectl` strips: its namespace, and annotations where there are none."""
    meta = {k: v for k, v in meta_of(obj).items() if k != "namespace" and not (k == "annotations" and not v)}
    return {**obj, "metadata": meta}


def _without_bookkeeping(obj: Obj) -> Obj:
    meta = {k: v for k, v in meta_of(obj).items() if k not in _BOOKKEEPING}
    return {**obj, "metadata": meta}


def _as_typed(obj: Obj, schema: Schema | None) -> Obj:
    """As the type holds it, with defaults; an object that does not fit its type is compared as it was written."""
    if schema is None:
        return cast(Obj, _without_nulls(obj))
    try:
        typed, unknown = decode(obj, schema)
    except DecodeError:
        return obj
    if unknown:
        return obj
    found = copy.deepcopy(typed)
    version = str(obj.get("apiVersion") or "")
    try:
        apply_defaults(group_of(_SERVED.get(version, version)), str(obj.get("kind")), found)
    except (AttributeError, KeyError, TypeError):  # defaults expect a valid object
        return cast(Obj, _without_nulls(typed))
    return cast(Obj, _without_nulls(found))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _merged(before: Any, wanted: Any, live: Any, schema: Schema) -> Any:
    """`live` with what `wanted` says, and without what `before` said and `wanted` no longer does."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        before = before if isinstance(before, dict) else {}
        found = {key: value for key, value in live.items() if not (key in before and key not in wanted)}
        for key, value in wanted.items():
            if value is None:
                found.pop(key, None)
            else:
                found[key] = _merged(before.get(key), value, found[key], schema.child(key) or ANY) if key in found else value
        return found
    if isinstance(wanted, list) and isinstance(live, list) and schema.kind == "list":
        if schema.merge_key and all(_keyed(item, schema.merge_key) for item in (*wanted, *live)):
            return _merged_items(before if isinstance(before, list) else [], wanted, live, schema)
        if schema.list_type == "set":
            gone = [item for item in (before if isinstance(before, list) else []) if item not in wanted]
            return [*(item for item in live if item not in gone), *(item for item in wanted if item not in live)]
    return wanted


def _keyed(item: Any, key: str) -> bool:
    return isinstance(item, dict) and key in item


def _merged_items(before: list[Any], wanted: list[Any], live: list[Any], schema: Schema) -> list[Any]:
    key, items = schema.merge_key, schema.items or ANY
    old: Mapping[Any, Any] = {item[key]: item for item in before if _keyed(item, key)}
    now = {item[key]: item for item in wanted}
    found = []
    for item in live:
        name = item[key]
        if name in now:
            found.append(_merged(old.get(name), now[name], item, items))
        elif name not in old:
            found.append(item)
    return [*found, *(item for name, item in now.items() if not any(one[key] == name for one in live))]


def _without_extra_claims(obj: Obj, config: Obj) -> Obj:
    """Fields of live volumeClaimTemplates that git does not name are the server's own."""
    wanted = (config.get("spec") or {}).get("volumeClaimTemplates") or []
    present = (obj.get("spec") or {}).get("volumeClaimTemplates") or []
    if len(wanted) != len(present):
        return obj
    claims = [_only(have, want) for have, want in zip(present, wanted, strict=True)]
    return {**obj, "spec": {**obj["spec"], "volumeClaimTemplates": claims}}


def _only(value: Any, shape: Any) -> Any:
    """What of `value` has a place in `shape`; elements of lists go by their place."""
    if isinstance(value, dict) and isinstance(shape, dict):
        return {key: _only(inner, shape[key]) for key, inner in value.items() if key in shape}
    if isinstance(value, list) and isinstance(shape, list):
        return [_only(item, shape[n]) if n < len(shape) else item for n, item in enumerate(value)]
    return value


def _union(a: Any, b: Any) -> Any:
    if isinstance(a, dict) and isinstance(b, dict):
        return {key: _union(a[key], b[key]) if key in a and key in b else a.get(key, b.get(key)) for key in {**a, **b}}
    if isinstance(a, list) and isinstance(b, list):
        return [*(_union(x, y) for x, y in zip(a, b, strict=False)), *a[len(b):], *b[len(a):]]
    return b
