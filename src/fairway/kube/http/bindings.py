"""Binding: a scheduler says on which node a pod runs. `POST .../pods/NAME/binding`, or `POST .../bindings`.

Source: kubernetes `pkg/registry/core/pod/storage/storage.go`.
"""

from __future__ import annotations

from fairway.kube.api import Api, MergePatch, WriteOptions
from fairway.kube.clock import Clock
from fairway.kube.errors import BadRequest, Conflict
from fairway.kube.objects import Key, Obj, dig, is_deleting, meta_of, rfc3339, spec_of, status_of
from fairway.kube.refusals import invalid, required, unsupported
from fairway.kube.resources import PODS, Resource

BOUND: Obj = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
_BINDING = Resource("", "v1", "Binding", "bindings")


async def bind(api: Api, key: Key, binding: Obj, clock: Clock, options: WriteOptions) -> Obj:
    """The answer to a client. Raises the refusal."""
    name = key.name or str(meta_of(binding).get("name") or "")
    if key.name and meta_of(binding).get("name") not in (None, "", key.name):
        raise BadRequest(f"name in URL does not match name in Binding object: {key.name} is not {meta_of(binding)['name']}")
    target = binding.get("target") or {}
    errors = []
    if target.get("kind") not in (None, "", "Node", "Minion"):
        errors.append(unsupported("target.kind", target["kind"], ["Node", "Minion", "<empty>"]))
    if not target.get("name"):
        errors.append(required("target.name"))
    if errors:
        raise invalid(_BINDING, name, errors)
    pod = await api.get(PODS, name, key.namespace)
    refusal = _refusal(pod)
    if refusal:
        details = {"name": name, "kind": "pods/binding"}
        raise Conflict(f'Operation cannot be fulfilled on pods/binding "{name}": {refusal}', details=details)
    meta = {"resourceVersion": meta_of(pod)["resourceVersion"], "annotations": meta_of(binding).get("annotations") or {}}
    await api.patch(PODS, name, key.namespace, MergePatch({"metadata": meta, "spec": {"nodeName": target["name"]}}), options)
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": rfc3339(clock.now())}
    others = [row for row in status_of(pod).get("conditions") or () if row.get("type") != "PodScheduled"]
    await api.patch(PODS, name, key.namespace, MergePatch({"status": {"conditions": [*others, scheduled]}}), options,
                    subresource="status")
    return BOUND


def _refusal(pod: Obj) -> str:
    name = meta_of(pod)["name"]
    if is_deleting(pod):
        return f"pod {name} is being deleted, cannot be assigned to a host"
    if node := spec_of(pod).get("nodeName"):
        return f'pod {name} is already assigned to node "{node}"'
    if dig(pod, "spec", "schedulingGates"):
        return f"pod {name} has non-empty .spec.schedulingGates"
    return ""
