"""Health of vendors' kinds: what their controllers write, and the status and message that Argo CD's users know for it."""

from __future__ import annotations

import random
from typing import Any, get_args

import pytest

from fairway.gitops.crd_health import CHECKS, GROUPS
from fairway.gitops.customizations import decode_customizations
from fairway.gitops.health import HealthStatus, health

Obj = dict[str, Any]


def thing(kind: str, status: Obj | None = None, **more: Any) -> Obj:
    group, name = kind.rsplit("/", 1)
    found: Obj = {"apiVersion": f"{group}/v1", "kind": name, "metadata": {"name": "a", "generation": 2}, **more}
    return found if status is None else {**found, "status": status}


def said(*conditions: tuple[str, str] | tuple[str, str, str]) -> Obj:
    """A status with conditions: (type, state) or (type, state, message)."""
    return {"conditions": [{"type": c[0], "status": c[1], "reason": "Why", "message": c[2] if len(c) == 3 else ""}
                           for c in conditions]}  # fmt: skip


CASES: tuple[tuple[Obj, str, str], ...] = (
    # conditions: the first that says something decides
    (thing("external-secrets.io/SecretStore", said(("Ready", "False", "no access"))), "Degraded", "no access"),
    (thing("external-secrets.io/SecretStore", {}), "Progressing", "Waiting for SecretStore"),
    (thing("cert-manager.io/Certificate", said(("Ready", "True", "up to date"), ("Issuing", "True", "renewing"))),
     "Progressing", "renewing"),
    (thing("certmanager.k8s.io/Certificate", said(("Ready", "True", "done"), ("Issuing", "True"))), "Healthy", "done"),
    (thing("argoproj.io/ApplicationSet", said(("ResourcesUpToDate", "True", "fine"), ("ErrorOccurred", "True", "bad list"))),
     "Degraded", "bad list"),
    (thing("argoproj.io/CronWorkflow", {}), "Healthy", "CronWorkflow is healthy."),
    (thing("argoproj.io/EventBus", {"conditions": [{"type": "Deployed", "status": "False", "reason": "NoNats"}]}),
     "Degraded", "NoNats"),
    (thing("bitnami.com/SealedSecret", None), "Progressing", "Waiting for Sealed Secret to be decrypted"),
    # an older generation is not believed
    (thing("karpenter.sh/NodeClaim", {**said(("Ready", "True")), "observedGeneration": 1}),
     "Progressing", "Waiting for NodeClaim spec to be reconciled"),
    (thing("pulumi.com/Stack", said(("Ready", "True"))),
     "Progressing", "Waiting for the operator to observe the latest spec change"),
    (thing("projectcontour.io/HTTPProxy", {"currentStatus": "NotReconciled", "description": "Waiting for controller"}),
     "Progressing", "Waiting for controller"),
    # one word
    (thing("acid.zalan.do/postgresql", {"PostgresClusterStatus": "SyncFailed"}), "Degraded", "SyncFailed"),
    (thing("minio.min.io/Tenant", {"currentState": "Waiting for Pods"}), "Progressing", "Waiting for Pods"),
    (thing("clickhouse.altinity.com/ClickHouseInstallation", {"status": "Aborted {1}"}), "Degraded",
     "ClickHouse status: Aborted {1}"),
    (thing("core.humio.com/HumioParser", {"state": "NotFound"}), "Missing", "Component state: NotFound."),
    # at rest
    (thing("kustomize.toolkit.fluxcd.io/Kustomization", spec={"suspend": True}), "Suspended", "Kustomization is suspended"),
    (thing("kustomize.toolkit.fluxcd.io/Kustomization", said(("Ready", "Unknown"), ("Reconciling", "True")), spec={}),
     "Progressing", "Why"),
    (thing("source.toolkit.fluxcd.io/GitRepository", said(("Ready", "True")), spec={}), "Degraded", "Why"),
    (thing("keda.sh/ScaledObject", said(("Ready", "True", "ready"), ("Paused", "True", "paused"))), "Suspended", "paused"),
    (thing("kubevirt.io/VirtualMachine", said(("Ready", "False"))), "Suspended", "Stopped"),
    # several parts
    (thing("gateway.networking.k8s.io/Gateway",
           {**said(("Accepted", "True")), "listeners": [said(("Accepted", "False", "taken"))]}),
     "Degraded", "Listener: taken"),
    (thing("gateway.networking.k8s.io/HTTPRoute", {"parents": [
        {"parentRef": {"name": "old"}, "conditions": [{"type": "Accepted", "status": "False", "observedGeneration": 1}]},
        {"parentRef": {"name": "new"}, "conditions": [{"type": "Accepted", "status": "True", "observedGeneration": 2}]}]}),
     "Healthy", "HTTPRoute is healthy"),
    (thing("cassandra.rook.io/Cluster", {"racks": {"a": {"members": 2, "readyMembers": 1}}}),
     "Progressing", "Waiting for Cassandra Cluster"),
    (thing("cluster.x-k8s.io/MachinePool", {"phase": "Provisioning", **said(("Ready", "False"))}),
     "Progressing", "MachinePool is Provisioning: Not Ready (Why)"),
    (thing("operators.coreos.com/Subscription", {**said(("InstallPlanFailed", "True")), "state": "AtLatestKnown"}),
     "Degraded", "1: InstallPlanFailed | True\n.status.state is 'AtLatestKnown'\n"),
    (thing("sparkoperator.k8s.io/SparkApplication", {
        "applicationState": {"state": "RUNNING"}, "executorState": {"a": "RUNNING"}},
           spec={"sparkConf": {"spark.dynamicAllocation.enabled": "true", "spark.dynamicAllocation.minExecutors": "2"}}),
     "Progressing", "Waiting for Executor pods"),
    (thing("argoproj.io/Rollout", {"observedGeneration": "2", "workloadObservedGeneration": "1", "phase": "Healthy"},
           spec={"workloadRef": {}}, metadata={
               "generation": 2, "annotations": {"rollout.argoproj.io/workload-generation": "2"}}),
     "Progressing", "Waiting for rollout spec update to be observed"),
    # whole groups
    (thing("sqs.services.k8s.aws/Queue", said(("ACK.Terminal", "True", "no such region"))), "Degraded", "no such region"),
    (thing("sql.cnrm.cloud.google.com/SQLInstance", {"conditions": [
        {"type": "Ready", "status": "False", "reason": "UpdateFailed", "message": "quota"}]}), "Degraded", "quota"),
    (thing("ec2.aws.upbound.io/VPC", said(("Synced", "True"), ("Ready", "True"), ("LastAsyncOperation", "False", "failed"))),
     "Degraded", "failed"),
    (thing("s3.aws.crossplane.io/Bucket", {"conditions": [{"type": "Synced", "status": "False", "reason": "ReconcilePaused"}]}),
     "Suspended", "ReconcilePaused"),
)  # fmt: skip


@pytest.mark.parametrize(("obj", "status", "message"), CASES, ids=lambda v: v["kind"] if isinstance(v, dict) else "")
def test_what_a_controller_writes_has_the_health_that_users_know(obj: Obj, status: str, message: str) -> None:
    found = health(obj)
    assert found is not None
    assert (found.status, found.message) == (status, message)


def test_a_kind_of_an_unknown_vendor_has_no_health() -> None:
    assert health(thing("example.com/Widget", said(("Ready", "False")))) is None


def test_a_users_own_check_goes_before_the_shipped_one() -> None:
    own = decode_customizations({"resource.customizations.health.bitnami.com_SealedSecret":
                                 'return {status = "Suspended", message = "ours"}'})  # fmt: skip
    found = own.health(thing("bitnami.com/SealedSecret", said(("Synced", "True"))))
    assert found is not None
    assert (found.status, found.message) == ("Suspended", "ours")


def _odd(rng: random.Random, depth: int = 0) -> Any:
    plain = (None, "", "Ready", "True", "text {x}", 0, -3, 2.5, True, False)
    keys = ("conditions", "type", "status", "reason", "message", "phase", "state", "parents", "statuses", "observedGeneration")
    match rng.randrange(4 if depth < 4 else 1):
        case 0 | 1:
            return rng.choice(plain)
        case 2:
            return [_odd(rng, depth + 1) for _ in range(rng.randrange(3))]
    return {rng.choice(keys): _odd(rng, depth + 1) for _ in range(rng.randrange(4))}


def test_a_status_of_another_shape_never_stops_a_check() -> None:
    """No CRD's schema is enforced here: whatever stands in `spec` and `status`, there is an answer in words of ours."""
    rng = random.Random(7)
    kinds = [*CHECKS, *((group.replace("*", "a"), "Thing") for group in GROUPS)]
    for group, kind in kinds:
        for _ in range(60):
            obj = thing(f"{group}/{kind}", spec=_odd(rng, 1), status=_odd(rng, 1))
            found = health(obj)
            assert found is not None
            assert found.status in get_args(HealthStatus)
            assert isinstance(found.message, str)
