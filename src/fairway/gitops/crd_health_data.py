"""Health of databases, brokers, search engines and storage. Pure."""

from __future__ import annotations

from fairway.gitops.crd_health_rules import (
    Answer,
    Check,
    Conditions,
    On,
    Status,
    Words,
    condition_of,
    conditions_of,
    count,
    is_observed,
    is_true,
    message_of,
    of_group,
    ready,
    reports,
)
from fairway.kube.objects import Obj, annotations_of, dig, meta_of, spec_of, status_of

_UNKNOWN_TO_ARGO = ("is unknown. Ensure your ArgoCD is current and then check for/file a bug report: "
                    "https://github.com/argoproj/argo-cd/issues")  # fmt: skip
"""Part of upstream's messages, on which people's alerts match."""

# --- PostgreSQL, MySQL, MongoDB, Cassandra, ClickHouse ----------------------------------------------------------------------

_CNPG: dict[str, Status] = {
    "Cluster in healthy state": "Healthy",
    **dict.fromkeys(("Setting up primary", "Creating a new replica", "Upgrading cluster",
                     "Waiting for the instances to become active", "Promoting to primary cluster"), "Progressing"),
    **dict.fromkeys(("Switchover in progress", "Failing over", "Upgrading Postgres major version", "Cluster upgrade delayed",
                     "Waiting for user action", "Primary instance is being restarted in-place",
                     "Primary instance is being restarted without a switchover",
                     "Cluster cannot execute instance online upgrade due to missing architecture binary",
                     "Online upgrade in progress", "Applying configuration"), "Degraded"),
    **dict.fromkeys(("Unable to create required cluster objects",
                     "Cluster cannot proceed to reconciliation due to an unknown plugin being required",
                     "Cluster has incomplete or invalid image catalog",
                     "Cluster is unrecoverable and needs manual intervention"), "Suspended"),
}  # fmt: skip


def _postgres_cluster(obj: Obj) -> Answer:
    if annotations_of(obj).get("cnpg.io/reconciliationLoop") == "disabled":
        return "Suspended", "Cluster reconciliation is suspended"
    reason = str(status_of(obj).get("phaseReason") or "")
    if not reports(obj):
        return "Progressing", reason
    hibernation = condition_of(obj, "cnpg.io/hibernation")
    if hibernation:
        return "Suspended" if is_true(hibernation) else "Degraded", message_of(hibernation)
    return _CNPG.get(str(status_of(obj).get("phase") or ""), "Unknown"), reason


def _postgres_backup(obj: Obj) -> Answer:
    phase = status_of(obj).get("phase")
    if not phase:
        return "Progressing", "Waiting for backup to be processed"
    if phase == "completed":
        return "Healthy", "Backup completed"
    if phase in ("failed", "walArchivingFailing", "invalid backup definition"):
        return "Degraded", str(status_of(obj).get("error") or phase)
    return "Progressing", str(phase)


def _postgres_database(obj: Obj) -> Answer:
    """The operator moves observedGeneration only when a reconcile succeeded, so a first failure is still on its way."""
    status = status_of(obj)
    observed = meta_of(obj).get("generation") is None or is_observed(obj)
    if status.get("applied") is True and observed:
        return "Healthy", message_of(status)
    if status.get("applied") is False and observed:
        return "Degraded", message_of(status, "CloudNativePG failed to apply the Database")
    return "Progressing", message_of(status) or "Waiting for CloudNativePG to reconcile Database"


def _zalando(obj: Obj) -> Answer:
    word = status_of(obj).get("PostgresClusterStatus")
    if word is None:
        return "Progressing", "Waiting for postgres cluster status..."
    words: dict[str, Status] = {"Running": "Healthy", "Creating": "Progressing", "Updating": "Progressing"}
    return words.get(str(word), "Degraded"), str(word)


def _mariadb(obj: Obj) -> Answer:
    """The first condition that is False, else the last one's message."""
    if not reports(obj):
        return "Progressing", "No status info available"
    found = conditions_of(obj)
    for entry in found:
        if entry.get("status") == "False":
            return "Degraded" if entry.get("reason") == "Failed" else "Progressing", message_of(entry)
    return "Healthy", message_of(found[-1]) if found else ""


def _mariadb_backup(obj: Obj) -> Answer:
    if not reports(obj):
        return "Progressing", "No status info available"
    text = ""
    for entry in conditions_of(obj):
        text = f"{entry.get('reason') or ''} {message_of(entry)}"
        if entry.get("status") == "False":
            failed = entry.get("reason") == "CronJobScheduled" and entry.get("message") == "Failed"
            return "Degraded" if failed else "Progressing", text
    return "Healthy", text


def _mariadb_part(obj: Obj) -> Answer:
    """A database, user or grant: Ready decides; before it is there, the last condition is shown."""
    text = "No status info available"
    for entry in conditions_of(obj):
        text = message_of(entry)
        if entry.get("type") == "Ready":
            return "Healthy" if is_true(entry) else "Degraded", text
    return "Progressing", text


def _mariadb_job(obj: Obj) -> Answer:
    text = "No status info available"
    for entry in conditions_of(obj):
        text = f"{entry.get('reason') or ''} {message_of(entry)}"
        if is_true(entry) and entry.get("reason") in ("JobComplete", "JobFailed"):
            return "Healthy" if entry["reason"] == "JobComplete" else "Degraded", text
    return "Progressing", text


def _mongodb(obj: Obj) -> Answer:
    status = status_of(obj)
    if not status:
        return "Unknown", "Cluster status is unknown"
    words: dict[str, Status] = {"initializing": "Progressing", "ready": "Healthy", "error": "Degraded",
                                "stopping": "Progressing", "paused": "Suspended"}  # fmt: skip
    return words.get(str(status.get("state")), "Unknown"), _nodes(status)


def _nodes(status: Obj) -> str:
    return f"{count(status.get('ready'))}/{count(status.get('size'))} node(s) are ready"


def _xtradb(obj: Obj) -> Answer:
    status = status_of(obj)
    match status.get("state"):
        case "initializing":
            return "Progressing", _nodes(status)
        case "ready":
            return "Healthy", _nodes(status)
        case "paused":
            return "Unknown", "Cluster is paused"
        case "stopping":
            return "Degraded", f"Cluster is stopping ({_nodes(status)})"
        case "error":
            said = status.get("message")
            parts = said if isinstance(said, list) else [said or ""]
            return "Degraded", f"Cluster is on error: {', '.join(map(str, parts))}"
    return "Unknown", f"Cluster status {_UNKNOWN_TO_ARGO}"


def _cassandra(obj: Obj) -> Answer:
    racks = status_of(obj).get("racks")
    if not isinstance(racks, dict):
        return "Progressing", "Waiting for Cassandra Cluster"
    pairs = [(rack.get("members"), rack.get("readyMembers")) for rack in racks.values() if isinstance(rack, dict)]
    if any(None not in pair and pair[0] != pair[1] for pair in pairs):
        return "Progressing", "Waiting for Cassandra Cluster"
    return "Healthy", ""


def _clickhouse(name: str) -> Words:
    return Words(("status",), f"{name} status not yet available", {
        "Completed": ("Healthy", f"{name} installation completed successfully"),
        "InProgress": ("Progressing", f"{name} installation in progress")},
        ("Degraded", f"{name} status: {{word}}"))  # fmt: skip


# --- Kafka, RabbitMQ, ZooKeeper, Solr ---------------------------------------------------------------------------------------


def _strimzi(what: str, *, creating_is_fine: bool = False) -> Check:
    def check(obj: Obj) -> Answer:
        for entry in conditions_of(obj):
            fine = creating_is_fine and entry.get("reason") == "Creating"
            if entry.get("type") == "NotReady" and is_true(entry) and not fine:
                return "Degraded", message_of(entry)
            if entry.get("type") == "Ready" and is_true(entry):
                return "Healthy", ""
        return "Progressing", f"Waiting for {what}"

    return check


def _confluent(name: str) -> Words:
    return Words(("phase",), f"Waiting for {name}", {"RUNNING": ("Healthy", f"{name} running"),
                                                     "PROVISIONING": ("Progressing", f"{name} provisioning")})  # fmt: skip


def _connector(obj: Obj) -> Answer:
    status = status_of(obj)
    state, failed = status.get("state"), status.get("failedTasksCount")
    if state == "CREATED" and status.get("connectorState") == "RUNNING" and failed is None:
        return "Healthy", "Connector running"
    if state == "ERROR":
        found = conditions_of(obj)
        return "Degraded", message_of(found[0]) if found else "No conditions available"
    if state is not None and count(failed) > 0:
        return "Degraded", "Connector has failed tasks"
    return "Progressing", "Waiting for Kafka Connector"


def _banzai_kafka(obj: Obj) -> Answer:
    """Every broker has taken its configuration and ended its scaling."""
    status, waiting = status_of(obj), "Waiting for KafkaCluster"
    brokers, topic, state = (status.get(key) for key in ("brokersState", "cruiseControlTopicStatus", "state"))
    if state == "ClusterRollingUpgrading":
        return "Progressing", "Kafka Cluster is Rolling Upgrading."
    if not isinstance(brokers, dict):
        return "Progressing", waiting
    settled = [broker for broker in brokers.values() if dig(broker, "configurationState") == "ConfigInSync" and dig(
        broker, "gracefulActionState", "cruiseControlState") in ("GracefulUpscaleSucceeded", "GracefulDownscaleSucceeded")]
    if len(settled) != len(brokers):
        return "Degraded", "Broker Config is out of Sync or CruiseControlState is not Ready"
    if topic == "CruiseControlTopicReady" and state == "ClusterRunning":
        return "Healthy", "Kafka Brokers, CruiseControl and cluster are in Healthy State."
    if topic in ("CruiseControlTopicNotReady", None) and state == "ClusterReconciling":
        return "Progressing", "Kafka Cluster is Reconciling."
    return "Progressing", waiting


def _rabbit(kind: str) -> Conditions:
    name = kind.lower()
    return Conditions(f"RabbitMQ {name} status is unknown", (
        On("Ready", "True", "Healthy", f"RabbitMQ {name} ready", reasons=("SuccessfulCreateOrUpdate",)),
        On("Ready", "False", "Degraded", f"RabbitMQ {name} failed to be created or updated",
           reasons=("FailedCreateOrUpdate",))),
        meanwhile="Unknown")  # fmt: skip


def _rabbit_cluster(obj: Obj) -> Answer:
    failed = next((e for e in conditions_of(obj) if e.get("type") == "ReconcileSuccess" and e.get("status") == "False"), None)
    if failed is not None:
        return "Degraded", message_of(failed)
    available, replicas = condition_of(obj, "ClusterAvailable"), condition_of(obj, "AllReplicasReady")
    states = available.get("status"), replicas.get("status")
    if "Unknown" in states:
        return "Progressing", "Waiting for RabbitMQ cluster readiness (conditions unknown)"
    if replicas.get("reason") == "ScaledToZero" and states[1] == "False" and spec_of(obj).get("replicas") == 0:
        return "Suspended", "RabbitmqCluster is scaled to 0 replicas"
    if states[0] == "False":
        return "Progressing", "Waiting for RabbitMQ cluster formation"
    if states[1] == "False":
        return "Progressing", "Waiting for RabbitMQ instances ready"
    if states == ("True", "True"):
        return "Healthy", "RabbitMQ cluster ready"
    return "Progressing", "Waiting for RabbitMQ Operator"


def _zookeeper(obj: Obj) -> Answer:
    joined = status_of(obj).get("readyReplicas")
    if status_of(obj) and joined != 0 and joined == status_of(obj).get("replicas"):
        return "Healthy", "All ZK Nodes have joined the ensemble"
    return "Progressing", "Waiting for ZK Nodes to join the ensemble"


def _solr(obj: Obj) -> Answer:
    nodes = status_of(obj).get("solrNodes")
    if not isinstance(nodes, list):
        return "Progressing", "Waiting for solr to exist"
    if not all(dig(node, "ready") for node in nodes):
        return "Progressing", "Not all replicas are ready"
    return "Healthy", "Solr is ready"


# --- Elastic --------------------------------------------------------------------------------------------------------------


def _elasticsearch(obj: Obj) -> Answer:
    status = status_of(obj)
    unknown: Answer = ("Unknown", f"Elasticsearch Cluster status {_UNKNOWN_TO_ARGO}")
    available = status.get("availableNodes")
    if available is None:
        return unknown
    wanted = sum(count(dig(nodes, "count")) for nodes in spec_of(obj).get("nodeSets") or ())
    if available < wanted:
        return "Progressing", f"The desired amount of availableNodes is {wanted} but the current amount is {available}"
    if available != wanted or status.get("health") is None:
        return unknown
    check = " Check the status of indices, replicas and shards"
    found: dict[tuple[object, object], Answer] = {
        ("Ready", "green"): ("Healthy", "Elasticsearch Cluster status is Green"),
        ("Ready", "yellow"): ("Progressing", f"Elasticsearch Cluster status is Yellow.{check}"),
        ("Ready", "red"): ("Degraded", f"Elasticsearch Cluster status is Red.{check}"),
    }
    phase = status.get("phase")
    if phase in ("ApplyingChanges", "MigratingData", "Invalid"):
        return "Degraded" if phase == "Invalid" else "Progressing", f"Elasticsearch phase is {phase}"
    return found.get((phase, status.get("health")), unknown)


def _beat(obj: Obj) -> Answer:
    status = status_of(obj)
    health, available, expected = (status.get(key) for key in ("health", "availableNodes", "expectedNodes"))
    if health is None and expected is None:
        return "Unknown", f"Elastic Beat status {_UNKNOWN_TO_ARGO}"
    match health:
        case "red":
            return "Degraded", "Elastic Beat status is Red"
        case "green":
            return "Healthy", "Elastic Beat status is Green"
        case "yellow" if available is not None and expected is not None:
            return "Progressing", (f"Elastic Beat status is deploying, there is {available} instance(s) on {expected} expected")
        case "yellow" | None:
            return "Progressing", "Elastic Beat phase is progressing"
    return "Unknown", f"Elastic Beat status {_UNKNOWN_TO_ARGO}"


def _logstash(obj: Obj) -> Answer:
    if status_of(obj).get("health") is None:
        return "Progressing", "Waiting for Logstash"
    found: dict[object, Answer] = {
        "green": ("Healthy", "Logstash status is Green"), "yellow": ("Progressing", "Logstash status is Yellow"),
        "red": ("Degraded", "Logstash status is Red"),
    }  # fmt: skip
    return found.get(status_of(obj).get("health"), ("Unknown", f"Logstash status {_UNKNOWN_TO_ARGO}"))


# --- storage --------------------------------------------------------------------------------------------------------------


def _ceph_cluster(obj: Obj) -> Answer:
    status = status_of(obj)
    if not status:
        return "Progressing", "Waiting for status to be reported"
    answer: Status = "Progressing"
    parts: list[str] = []
    health = dig(status, "ceph", "health")
    if health is not None:
        details = dig(status, "ceph", "details", default={})
        said = [str(details[key]["message"]) for key in sorted(details) if dig(details, key, "message") is not None]
        words: dict[str, Status] = {"HEALTH_ERR": "Degraded", "HEALTH_WARN": "Degraded", "HEALTH_OK": "Healthy"}
        answer = words.get(str(health), answer)
        parts.append(f"Ceph health is {health}" + (f" ({'; '.join(said)})" if said else ""))
    state = status.get("state")
    if state is not None and answer == "Healthy":
        parts.append(f"Ceph cluster state is {state}")
        states: dict[str, Status] = {"Created": "Healthy", "Connected": "Healthy", "Error": "Degraded"}
        answer = states.get(str(state), "Progressing")
    parts.append(message_of(status))
    return answer, " - ".join(filter(None, parts))


def _object_store(obj: Obj) -> Answer:
    phase = status_of(obj).get("phase")
    message = "Waiting for status to be reported" if phase is None else f"Ceph object store phase is {phase}"
    endpoint = dig(status_of(obj), "info", "endpoint")
    words: dict[object, Status] = {"Ready": "Healthy", "Failure": "Degraded"}
    return words.get(phase, "Progressing"), f"{message} - endpoint: {endpoint}" if endpoint else message


def _bucket_claim(obj: Obj) -> Answer:
    if not status_of(obj):
        return "Progressing", "Waiting for status to be reported"
    return Words(("phase",), "Waiting for phase to be reported", {
        "Bound": ("Healthy", "Object bucket claim phase is {word}"),
        "Failed": ("Degraded", "Object bucket claim phase is {word}"),
    }, ("Progressing", "Object bucket claim phase is {word}"))(obj)  # fmt: skip


def _tenant(obj: Obj) -> Answer:
    state = status_of(obj).get("currentState")
    if state is None:
        return "Progressing", "No status info available"
    if state == "Initialized":
        return "Healthy", state
    failed = ("Statefulset not controlled by operator", "Another MinIO Tenant already exists in the namespace",
              "Tenant credentials are not set properly", "Different versions across MinIO Pools",
              "Pool Decommissioning Not Allowed")  # fmt: skip
    return "Degraded" if state in failed else "Progressing", str(state)


def _snapshot(obj: Obj) -> Answer:
    if status_of(obj).get("readyToUse"):
        return "Healthy", "Ready to use"
    error = status_of(obj).get("error")
    return ("Progressing", "Waiting for status") if error is None else ("Degraded", message_of(error))


def _backend(obj: Obj) -> Answer:
    status = status_of(obj)
    if status.get("phase") == "Bound" and status.get("lastOperationStatus") == "Success":
        return "Healthy", message_of(status)
    if status.get("lastOperationStatus") == "Failed":
        return "Degraded", message_of(status)
    return "Progressing", "Waiting for backend creation"


_ASTRA_RUN = Words(("state",), "No status available", {
    "Completed": ("Healthy", "{kind} Completed"), "Running": ("Progressing", "{kind} Running"),
}, ("Degraded", "{word}"))  # fmt: skip


def _exec_hook(obj: Obj) -> Answer:
    match spec_of(obj).get("enabled"):
        case True:
            return "Healthy", f"{obj.get('kind')} enabled"
        case False:
            return "Suspended", f"{obj.get('kind')} disabled"
    return "Progressing", "No status available"


def _astra_application(obj: Obj) -> Answer:
    row = ready("No status available", healthy=f"Astra Application Ready, protectionState: {_protection(obj)}",
                degraded="Astra Application Degraded, message: {message}")  # fmt: skip
    return row(obj)


def _protection(obj: Obj) -> str:
    return str(status_of(obj).get("protectionState") or "").replace("{", "{{").replace("}", "}}")


def _schedule(obj: Obj) -> Answer:
    last = status_of(obj).get("lastScheduleTime")
    return "Healthy", "Protection policy not yet executed" if last is None else f"Protection policy lastScheduleTime: {last}"


# --- the table ------------------------------------------------------------------------------------------------------------

_VAULT: dict[str, Answer] = {
    "available": ("Healthy", "{kind} Available"), "Available": ("Healthy", "{kind} Available"),
    "failed": ("Degraded", "{kind} Failed"), "Failed": ("Degraded", "{kind} Failed"),
}  # fmt: skip

CHECKS: dict[tuple[str, str], Check] = {
    ("postgresql.cnpg.io", "Cluster"): _postgres_cluster,
    ("postgresql.cnpg.io", "Backup"): _postgres_backup,
    ("postgresql.cnpg.io", "Database"): _postgres_database,
    ("acid.zalan.do", "postgresql"): _zalando,
    ("k8s.mariadb.com", "MariaDB"): _mariadb, ("mariadb.mmontes.io", "MariaDB"): _mariadb,
    ("k8s.mariadb.com", "Backup"): _mariadb_backup,
    **of_group("k8s.mariadb.com", ("Database", "User", "Grant"), _mariadb_part),
    ("k8s.mariadb.com", "SqlJob"): _mariadb_job,
    ("psmdb.percona.com", "PerconaServerMongoDB"): _mongodb,
    ("pxc.percona.com", "PerconaXtraDBCluster"): _xtradb,
    ("cassandra.rook.io", "Cluster"): _cassandra,
    ("clickhouse.altinity.com", "ClickHouseInstallation"): _clickhouse("ClickHouse"),
    ("clickhouse-keeper.altinity.com", "ClickHouseKeeperInstallation"): _clickhouse("ClickHouseKeeper"),
    ("db.atlasgo.io", "AtlasMigration"): Conditions("Waiting for Atlas Operator", (
        On("Ready", "True", "Healthy", "{reason}"), On("Ready", "*", "Progressing", "{reason}", reasons=("Reconciling",)),
        On("Ready", "*", "Degraded", "{reason}"))),
    ("db.atlasgo.io", "AtlasSchema"): Conditions("Waiting for Atlas Operator", (
        On("Ready", "True", "Healthy", "{reason}"), On("Ready", "*", "Progressing", "{reason}", reasons=("Reconciling",)),
        On("Ready", "*", "Degraded", "{reason}"))),
    ("kafka.strimzi.io", "Kafka"): _strimzi("Kafka Cluster", creating_is_fine=True),
    ("kafka.strimzi.io", "KafkaBridge"): _strimzi("KafkaBridge"),
    ("kafka.strimzi.io", "KafkaConnect"): _strimzi("Kafka Connect"),
    ("kafka.strimzi.io", "KafkaConnector"): _strimzi("KafkaConnector"),
    ("kafka.strimzi.io", "KafkaTopic"): _strimzi("Kafka Topic"),
    ("kafka.strimzi.io", "KafkaUser"): _strimzi("Kafka User"),
    ("kafka.banzaicloud.io", "KafkaCluster"): _banzai_kafka,
    **{("platform.confluent.io", name): _confluent(name)
       for name in ("Connect", "ControlCenter", "Kafka", "KsqlDB", "SchemaRegistry", "Zookeeper")},
    ("platform.confluent.io", "Connector"): _connector,
    **{("rabbitmq.com", kind): _rabbit(kind)
       for kind in ("Binding", "Exchange", "Permission", "Policy", "Queue", "Shovel", "User", "Vhost")},
    ("rabbitmq.com", "RabbitmqCluster"): _rabbit_cluster,
    ("zookeeper.pravega.io", "ZookeeperCluster"): _zookeeper,
    ("solr.apache.org", "SolrCloud"): _solr,
    ("elasticsearch.k8s.elastic.co", "Elasticsearch"): _elasticsearch,
    ("beat.k8s.elastic.co", "Beat"): _beat,
    ("logstash.k8s.elastic.co", "Logstash"): _logstash,
    ("ceph.rook.io", "CephCluster"): _ceph_cluster,
    ("ceph.rook.io", "CephObjectStore"): _object_store,
    ("objectbucket.io", "ObjectBucketClaim"): _bucket_claim,
    ("ocs.openshift.io", "StorageCluster"): Conditions("StorageCluster is still being initialized or is in an unknown state.", (
        On("Degraded", "True", "Degraded"), On("Progressing", "True", "Progressing"), On("Available", "True", "Healthy"),
        On("Upgradeable", "True", "Healthy")), ranked=True),
    ("minio.min.io", "Tenant"): _tenant,
    **of_group("snapshot.storage.k8s.io", ("VolumeSnapshot", "VolumeSnapshotContent"), _snapshot),
    ("trident.netapp.io", "TridentBackendConfig"): _backend,
    ("trident.netapp.io", "TridentOrchestrator"): Words(
        ("status",), "Waiting for trident installation", {"Installed": ("Healthy", "{message}")}),
    ("astra.netapp.io", "AppVault"): Words(("state",), "No status available", _VAULT),
    ("astra.netapp.io", "Application"): _astra_application,
    **of_group("astra.netapp.io", ("Backup", "ExecHooksRun", "ResourceBackup", "ResticVolumeBackup", "Snapshot"), _ASTRA_RUN),
    ("astra.netapp.io", "ExecHook"): _exec_hook,
    ("astra.netapp.io", "Schedule"): _schedule,
}  # fmt: skip
