"""The real kubectl against a server with controllers and a node: everything that a team's scripts do with a cluster.

In order: what stands after one story is what the next one finds.
"""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube_http.kubectl import Kubectl, needs_kubectl
from tests.kube_http.serving import DEADLINE_S
from tests.kube_http.whole import whole

pytestmark = needs_kubectl

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 1}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: host:1
        command: [sh, -c, "echo started $VERSION; mkdir -p cache; exec sleep 600"]
        env: [{name: VERSION, value: one}]
        ports: [{containerPort: 8080}]
        volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, emptyDir: {}}]
"""


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    folder = tmp_path_factory.mktemp("whole")
    with whole(folder) as served:
        yield Kubectl(served, folder)


def pod_of(kubectl: Kubectl) -> str:
    """A pod of the web that runs."""
    named = kubectl.run("get", "pods", "-l", "app=web", "--field-selector=status.phase=Running", "-o",
                        "jsonpath={range .items[?(@.status.containerStatuses[0].ready==true)]}{.metadata.name}{'\\n'}{end}")
    return named.split()[0]


GENERATED = {
    "namespace made": "namespace/made created",
    "configmap cm --from-literal=a=b": "configmap/cm created",
    "secret generic plain --from-literal=password=x": "secret/plain created",
    "secret docker-registry pull --docker-username=u --docker-password=p": "secret/pull created",
    "serviceaccount robot": "serviceaccount/robot created",
    "role reader --verb=get,list --resource=pods,deployments.apps": "role.rbac.authorization.k8s.io/reader created",
    "rolebinding reads --role=reader --serviceaccount=made:robot": "rolebinding.rbac.authorization.k8s.io/reads created",
    "clusterrole viewer --verb=get --resource=nodes": "clusterrole.rbac.authorization.k8s.io/viewer created",
    "clusterrolebinding views --clusterrole=viewer --user=eve": "clusterrolebinding.rbac.authorization.k8s.io/views created",
    "quota few --hard=configmaps=50": "resourcequota/few created",
    "poddisruptionbudget careful --selector=app=x --min-available=1": "poddisruptionbudget.policy/careful created",
    "priorityclass high --value=1000": "priorityclass.scheduling.k8s.io/high created",
    "ingress front --rule=shop.example.com/*=web:80": "ingress.networking.k8s.io/front created",
    "service clusterip inner --tcp=80:8080": "service/inner created",
    "service nodeport outer --tcp=80:8080": "service/outer created",
    "service loadbalancer balanced --tcp=80:8080": "service/balanced created",
    "service externalname elsewhere --external-name=example.com": "service/elsewhere created",
    "deployment plain --image=host --replicas=0": "deployment.apps/plain created",
    "job once --image=host -- true": "job.batch/once created",
    "cronjob often --image=host --schedule=@yearly -- true": "cronjob.batch/often created",
    "job again --from=cronjob/often": "job.batch/again created",
}


def test_every_generator(kubectl: Kubectl) -> None:
    for command, words in GENERATED.items():
        parts = command.split()
        where = () if parts[0] == "namespace" else ("-n", "made")
        kubectl.says(words, "create", *parts[:1], *where, *parts[1:])
    assert kubectl.run("create", "token", "robot", "-n", "made", "--duration=10m").count(".") == 2
    shown = json.loads(kubectl.run("get", "secret", "plain", "-n", "made", "-o", "json"))
    assert (shown["data"], shown["type"]) == ({"password": "eA=="}, "Opaque")
    kubectl.says("condition met", "wait", "-n", "made", "job/once", "job/again", "--for=condition=Complete",
                 f"--timeout={DEADLINE_S:.0f}s")
    assert "already exists" in kubectl.run("create", "configmap", "cm", "-n", "made", fails=True)
    made = kubectl.run("create", "configmap", "dry", "--from-literal=a=b", "--dry-run=server", "-o", "yaml")
    assert "uid:" in made
    assert "NotFound" in kubectl.run("get", "configmap", "dry", fails=True)


def test_apply_and_the_first_rollout(kubectl: Kubectl) -> None:
    kubectl.says("deployment.apps/web created", "apply", "-f", "-", given=WEB)
    kubectl.says('deployment "web" successfully rolled out', "rollout", "status", "deploy/web", "--timeout=20s")
    kubectl.says("deployment.apps/web unchanged", "apply", "-f", "-", given=WEB)
    kubectl.says("condition met", "wait", "deploy/web", "--for=condition=Available", "--timeout=20s")
    kubectl.says("serverside-applied", "apply", "--server-side", "-f", "-", given=WEB)
    diff = kubectl.run("diff", "-f", "-", given=WEB.replace("replicas: 2", "replicas: 3"), fails=True)
    assert "-  replicas: 2\n+  replicas: 3" in diff
    kubectl.says("configmap/pruned created", "apply", "-f", "-", "-l", "set=one", given=config_map("pruned"))
    kubectl.says("configmap/pruned pruned", "apply", "-f", "-", "-l", "set=one", "--prune",
                 "--prune-allowlist=core/v1/ConfigMap", given=config_map("kept"))


def config_map(name: str) -> str:
    return f'{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","labels":{{"set":"one"}}}}}}'


def test_forms_of_output(kubectl: Kubectl) -> None:
    wide = kubectl.run("get", "pods", "-l", "app=web", "-o", "wide").splitlines()
    assert wide[0].split()[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert wide[1].split()[1:4] == ["1/1", "Running", "0"]
    assert wide[1].split()[5].startswith("127.")
    kubectl.says("kind: Deployment", "get", "deploy", "web", "-o", "yaml")
    assert kubectl.run("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[*].image}") == "host:1"
    columns = kubectl.run("get", "deploy", "web", "-o", "custom-columns=N:.metadata.name,R:.spec.replicas").split()
    assert columns == ["N", "R", "web", "2"]
    assert kubectl.run("get", "deploy", "web", "-o", "go-template={{.status.readyReplicas}}") == "2"
    assert kubectl.run("get", "deploy,rs", "-l", "app=web", "-o", "name").splitlines()[0] == "deployment.apps/web"
    assert len(kubectl.run("get", "pods", "-l", "app=web", "--no-headers", "--sort-by=.metadata.name").splitlines()) == 2
    kubectl.says("app=web", "get", "pods", "-l", "app=web", "--show-labels")
    kubectl.says("No resources found", "get", "pods", "-l", "app=none")


def test_questions_about_the_api(kubectl: Kubectl) -> None:
    kubectl.says("deployments", "api-resources", "--api-group=apps")
    kubectl.says("apps/v1", "api-versions")
    kubectl.says("maxSurge", "explain", "deployment.spec.strategy", "--recursive")
    kubectl.says("yes", "auth", "can-i", "create", "pods")
    kubectl.says("*.*", "auth", "can-i", "--list")
    assert "admin" in kubectl.run("auth", "whoami")
    kubectl.says("Kubernetes control plane", "cluster-info")
    kubectl.says("Server Version", "version")
    kubectl.says("ok", "get", "--raw", "/readyz")


def test_patches_labels_and_edit(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl.says("patched", "patch", "deploy", "web", "-p", '{"metadata":{"annotations":{"by":"strategic"}}}')
    kubectl.says("patched", "patch", "deploy", "web", "--type=merge", "-p", '{"metadata":{"annotations":{"by":"merge"}}}')
    kubectl.says("patched", "patch", "deploy", "web", "--type=json", "-p",
                 '[{"op":"replace","path":"/metadata/annotations/by","value":"json"}]')
    kubectl.says("labeled", "label", "deploy", "web", "tier=front")
    kubectl.says("not labeled", "label", "deploy", "web", "tier=front")
    kubectl.says("unlabeled", "label", "deploy", "web", "tier-")
    kubectl.says("annotated", "annotate", "deploy", "web", "by=hand", "--overwrite")
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/by: hand/by: editor/' \"$1\"\n")
    editor.chmod(0o755)
    kubectl.says("deployment.apps/web edited", "edit", "deploy", "web", KUBE_EDITOR=str(editor))
    assert kubectl.run("get", "deploy", "web", "-o", "jsonpath={.metadata.annotations.by}") == "editor"
    kubectl.says("cancelled, no changes made", "edit", "deploy", "web", KUBE_EDITOR="true")
    kubectl.says("replaced", "replace", "-f", "-", given=config_map("kept"))
    kubectl.says("patched", "patch", "deploy", "web", "--subresource=status", "--type=merge", "-p",
                 '{"status":{"observedGeneration":1}}')


def test_scaling(kubectl: Kubectl) -> None:
    kubectl.says("scaled", "scale", "deploy/web", "--replicas=3", "--current-replicas=2")
    kubectl.says("successfully rolled out", "rollout", "status", "deploy/web", "--timeout=20s")
    kubectl.says("error: Expected replicas to be 9", "scale", "deploy/web", "--replicas=4", "--current-replicas=9", fails=True)
    kubectl.says("scaled", "scale", "deploy/web", "--replicas=2")
    kubectl.says("autoscaled", "autoscale", "deploy/web", "--min=2", "--max=2", "--cpu-percent=80")
    assert "Deployment/web" in kubectl.run("get", "hpa", "web")
    kubectl.run("delete", "hpa", "web")


def test_a_history_of_rollouts(kubectl: Kubectl) -> None:
    kubectl.says("env updated", "set", "env", "deploy/web", "VERSION=two")
    kubectl.says("successfully rolled out", "rollout", "status", "deploy/web", "--timeout=20s")
    kubectl.says("image updated", "set", "image", "deploy/web", "main=host:2")
    kubectl.says("successfully rolled out", "rollout", "status", "deploy/web", "--timeout=20s")
    assert [line.split()[0] for line in kubectl.run("rollout", "history", "deploy/web").splitlines()[2:] if line] == [
        "1", "2", "3"]
    kubectl.says("host:2", "rollout", "history", "deploy/web", "--revision=3")
    kubectl.says("rolled back", "rollout", "undo", "deploy/web")
    kubectl.says("successfully rolled out", "rollout", "status", "deploy/web", "--timeout=20s")
    assert kubectl.run("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}") == "host:1"
    kubectl.says("rolled back", "rollout", "undo", "deploy/web", "--to-revision=1")
    kubectl.says("paused", "rollout", "pause", "deploy/web")
    kubectl.says("can't restart paused deployment", "rollout", "restart", "deploy/web", fails=True)
    kubectl.says("resumed", "rollout", "resume", "deploy/web")
    kubectl.says("restarted", "rollout", "restart", "deploy/web")
    kubectl.says("successfully rolled out", "rollout", "status", "deploy/web", "--timeout=20s")
    kubectl.says("resource requirements updated", "set", "resources", "deploy/web", "--limits=memory=256Mi")
    kubectl.says("successfully rolled out", "rollout", "status", "deploy/web", "--timeout=20s")


def test_expose_and_run(kubectl: Kubectl) -> None:
    kubectl.says("service/web exposed", "expose", "deploy/web", "--port=80", "--target-port=8080")
    kubectl.says("pod/single created", "run", "single", "--image=host", "--restart=Never", "--command", "--",
                 "sh", "-c", "for i in 1 2 3; do echo line $i; done; echo bad >&2")
    kubectl.says("condition met", "wait", "pod/single", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=20s")
    assert sorted(kubectl.run("logs", "single").splitlines()) == ["bad", "line 1", "line 2", "line 3"]
    kubectl.says("completed pod", "exec", "single", "--", "true", fails=True)


def test_logs(kubectl: Kubectl) -> None:
    kubectl.says("started one", "logs", "deploy/web")
    assert kubectl.run("logs", "-l", "app=web", "--prefix", "--tail=1").count("started one") == 2
    kubectl.run("run", "talks", "--image=host", "--restart=Never", "--command", "--", "sh", "-c",
                "echo first; mkfifo go; read line < go; echo last")
    kubectl.says("condition met", "wait", "pod/talks", "--for=condition=Ready", "--timeout=20s")
    follow = kubectl.begin("logs", "-f", "talks", "--timestamps")
    try:
        assert follow.stdout is not None
        assert follow.stdout.readline().split()[1:] == ["first"]
        kubectl.code("exec", "talks", "--", "sh", "-c", "echo > go")  # which ends with the container
        assert follow.stdout.readline().split()[1:] == ["last"]
        assert follow.wait(DEADLINE_S) == 0
    finally:
        follow.kill()
        follow.communicate()


def test_exec(kubectl: Kubectl) -> None:
    pod = pod_of(kubectl)
    assert kubectl.run("exec", pod, "--", "printenv", "VERSION", "POD_IP").splitlines()[0] == "one"
    assert kubectl.output("exec", "-i", pod, "-c", "main", "--", "cat", given="through\n") == "through\n"
    assert kubectl.code("exec", pod, "--", "sh", "-c", "exit 7") == 7
    kubectl.says("executable file not found in $PATH", "exec", pod, "--", "no-such-thing", fails=True)
    kubectl.says("main", "exec", "deploy/web", "--", "sh", "-c", "echo main")
    kubectl.says("container nope is not valid", "exec", pod, "-c", "nope", "--", "true", fails=True)


def test_exec_in_a_terminal(kubectl: Kubectl) -> None:
    master, slave = pty.openpty()
    argv = ["kubectl", "exec", "-it", pod_of(kubectl), "--", "sh", "-c", "read line; echo [$line]; test -t 0 && echo tty"]
    with subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=kubectl.environment, close_fds=True) as shell:
        os.close(slave)
        os.write(master, b"typed\n")
        heard, deadline = b"", time.monotonic() + DEADLINE_S
        while b"tty\r" not in heard and select.select([master], [], [], deadline - time.monotonic())[0]:
            heard += os.read(master, 4096)
        assert b"[typed]" in heard
        assert shell.wait(DEADLINE_S) == 0
    os.close(master)


PAGE = """
apiVersion: v1
kind: Pod
metadata: {name: page}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: host
    command: [sh, -c, "echo hello > index.html; exec python3 -m http.server --bind $POD_IP 8080"]
    readinessProbe: {tcpSocket: {port: 8080}}
"""


def test_port_forward(kubectl: Kubectl) -> None:
    kubectl.run("create", "-f", "-", given=PAGE)
    kubectl.says("condition met", "wait", "pod/page", "--for=condition=Ready", "--timeout=20s")
    forward = kubectl.begin("port-forward", "--address=127.0.0.1", "pod/page", ":8080", ":1")
    try:
        assert forward.stdout is not None
        ports = [int(forward.stdout.readline().split("127.0.0.1:")[1].split()[0]) for _ in range(2)]
        for _ in range(3):
            assert answer(f"http://127.0.0.1:{ports[0]}/") == b"hello\n"
        with pytest.raises(OSError):  # on which kubectl ends
            answer(f"http://127.0.0.1:{ports[1]}/")
    finally:
        forward.kill()
        said, _ = forward.communicate()
    assert "nothing answers at 127." in said


def answer(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as response:
        found: bytes = response.read()
        return found


def test_cp(kubectl: Kubectl, tmp_path: Path) -> None:
    pod = pod_of(kubectl)
    sent = tmp_path / "sent"
    sent.write_bytes(os.urandom(200_000))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/inner.txt").write_text("inner")
    kubectl.run("cp", str(sent), f"{pod}:/data/file")
    kubectl.run("cp", str(tmp_path / "folder"), f"{pod}:/data/folder")
    assert kubectl.output("exec", pod, "--", "cat", "/data/folder/inner.txt") == "inner"
    kubectl.run("cp", f"{pod}:/data/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == sent.read_bytes()
    kubectl.run("cp", f"{pod}:/data", str(tmp_path / "everything"))
    assert (tmp_path / "everything/folder/inner.txt").read_text() == "inner"
    kubectl.run("cp", str(sent), f"{pod}:cache/relative")
    assert kubectl.output("exec", pod, "--", "sh", "-c", "wc -c < cache/relative").strip() == "200000"
    assert not Path("/data/file").exists()


def test_run_with_input(kubectl: Kubectl) -> None:
    given = ["run", "counts", "-i", "--rm", "--restart=Never", "--image=host", "--quiet", "--", "sh", "-c"]
    assert kubectl.output(*given, "wc -c", given="x" * 100_000).strip() == "100000"
    assert "terminated (Error)" in kubectl.run(*given, "cat; exit 7", given="bad", fails=True)
    assert "NotFound" in kubectl.run("get", "pod", "counts", fails=True)


def test_run_on_a_terminal(kubectl: Kubectl) -> None:
    master, slave = pty.openpty()
    argv = ["kubectl", "run", "typed", "-it", "--rm", "--restart=Never", "--image=host", "--", "sh", "-c",
            "read line; tty; echo [$line]"]
    with subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=kubectl.environment, close_fds=True) as shell:
        os.close(slave)
        heard, deadline, sent = b"", time.monotonic() + DEADLINE_S, False
        while b"deleted" not in heard and select.select([master], [], [], deadline - time.monotonic())[0]:
            heard += os.read(master, 4096)
            if b"command prompt" in heard and not sent:
                sent = bool(os.write(master, b"typed\n"))
        assert b"/dev/pts/" in heard and b"[typed]" in heard
        assert shell.wait(DEADLINE_S) == 0
    os.close(master)


def test_debug(kubectl: Kubectl) -> None:
    pod = pod_of(kubectl)
    look = ["debug", pod, "-i", "--image=host", "--container=look", "--profile=general", "--", "sh"]
    said = kubectl.output(*look, given="echo $POD_IP; exit\n")
    assert said.strip() == kubectl.output("get", "pod", pod, "-o", "jsonpath={.status.podIP}")
    assert "Ephemeral Containers:" in kubectl.run("describe", "pod", pod)
    kubectl.run("debug", pod, "--copy-to=copied", "--container=main", "--image=host", "--profile=general", "--", "sleep", "60")
    kubectl.says("condition met", "wait", "pod/copied", "--for=condition=Ready", "--timeout=20s")
    kubectl.run("delete", "pod", "copied", "--now")
    kubectl.says("patched", "patch", "pod", pod, "--subresource=resize", "-p",
                 '{"spec":{"containers":[{"name":"main","resources":{"limits":{"memory":"512Mi"}}}]}}')
    kubectl.run("wait", f"pod/{pod}", "--for=jsonpath={.status.containerStatuses[0].resources.limits.memory}=512Mi",
                "--timeout=20s")


DATABASE = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: host:1
        command: [sh, -c, "echo $HOSTNAME >> /data/seen; exec sleep 600"]
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""


def test_a_database_keeps_what_it_has(kubectl: Kubectl) -> None:
    kubectl.says("statefulset.apps/db created", "apply", "-f", "-", given=DATABASE)
    kubectl.says("2 new pods have been updated", "rollout", "status", "sts/db", "--timeout=20s")
    kubectl.says("image updated", "set", "image", "sts/db", "main=host:2")
    kubectl.says("2 new pods have been updated", "rollout", "status", "sts/db", "--timeout=20s")
    assert kubectl.output("exec", "db-1", "--", "cat", "/data/seen").split() == ["db-1"] * 2
    kubectl.says("rolled back", "rollout", "undo", "sts/db")
    kubectl.says("2 new pods have been updated", "rollout", "status", "sts/db", "--timeout=20s")
    assert kubectl.output("get", "pod", "db-0", "-o", "jsonpath={.spec.containers[0].image}") == "host:1"
    kubectl.says("scaled", "scale", "sts/db", "--replicas=1")
    kubectl.run("wait", "pod/db-1", "--for=delete", "--timeout=20s")
    assert kubectl.output("get", "pvc", "-o", "name").split() == [f"persistentvolumeclaim/data-db-{n}" for n in range(2)]
    kubectl.says("Bound", "describe", "pvc", "data-db-1")
    kubectl.run("delete", "sts", "db")


def test_attach(kubectl: Kubectl) -> None:
    kubectl.run("run", "speaks", "--image=host", "--restart=Never", "--command", "--", "sh", "-c",
                "mkfifo go; read line < go; echo heard; exit 5")
    kubectl.says("condition met", "wait", "pod/speaks", "--for=condition=Ready", "--timeout=20s")
    attached = kubectl.begin("attach", "speaks")
    try:
        # Attached when the server holds the stream: the container may then go on.
        deadline = time.monotonic() + DEADLINE_S
        while not kubectl.served.server._streams._open and time.monotonic() < deadline:
            time.sleep(0.01)
        kubectl.code("exec", "speaks", "--", "sh", "-c", "echo > go")
        output, _ = attached.communicate(timeout=DEADLINE_S)
        assert ("heard" in output.splitlines(), attached.returncode) == (True, 0)
    finally:
        attached.kill()
        attached.communicate()


def test_watching(kubectl: Kubectl) -> None:
    watch = kubectl.begin("get", "pods", "-l", "app=watched", "-w")
    try:
        assert watch.stdout is not None
        kubectl.run("run", "watched", "--image=host", "--restart=Never", "--labels=app=watched", "--command", "--", "true")
        seen = [watch.stdout.readline().split() for _ in range(2)]
        assert (seen[0][0], seen[1][0]) == ("NAME", "watched")
        while seen[-1][2] != "Completed":
            seen.append(watch.stdout.readline().split())
    finally:
        watch.kill()
        watch.communicate()


DESCRIBED = ("namespace/made", "configmap/cm", "secret/plain", "serviceaccount/robot", "role/reader", "rolebinding/reads",
             "clusterrole/viewer", "clusterrolebinding/views", "quota/few", "pdb/careful", "priorityclass/high",
             "ingress/front", "service/inner", "deployment/plain", "job/once", "cronjob/often")  # fmt: skip


def test_describe(kubectl: Kubectl) -> None:
    for name in DESCRIBED:
        kubectl.says(name.partition("/")[2], "describe", "-n", "made", name)
    assert "Started" in kubectl.run("describe", "pod", pod_of(kubectl))
    kubectl.says("Scaled up replica set", "describe", "deploy", "web")
    kubectl.says("Pod Template", "describe", "rs", "-l", "app=web")
    kubectl.says("kubelet", "describe", "nodes")
    kubectl.says("Endpoints", "describe", "service", "web")
    kubectl.says("kubernetes.io/service-name=web", "describe", "endpointslices", "-l", "kubernetes.io/service-name=web")
    kubectl.says("rollouts.argoproj.io", "describe", "crd", "rollouts.argoproj.io")


def test_top(kubectl: Kubectl) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while kubectl.code("top", "pods", "-l", "app=web") and time.monotonic() < deadline:
        time.sleep(0.3)  # a rate needs two looks at the processes
    pods = [line.split() for line in kubectl.output("top", "pods", "-l", "app=web").splitlines()]
    assert pods[0] == ["NAME", "CPU(cores)", "MEMORY(bytes)"]
    assert [(pod[0][:4], pod[2][-2:]) for pod in pods[1:]] == [("web-", "Mi")] * 2
    assert "main" in kubectl.output("top", "pods", "-l", "app=web", "--containers", "--sum")
    node = kubectl.output("top", "nodes").splitlines()[1].split()
    assert (node[0], node[2][-1], node[4][-1]) == ("fairway", "%", "%")
    kubectl.says("MethodNotAllowed", "delete", "pods.metrics.k8s.io", "--all", fails=True)


def test_events(kubectl: Kubectl) -> None:
    kubectl.says("ScalingReplicaSet", "events", "--for", "deployment/web")
    kubectl.says("Started", "get", "events", "--field-selector=reason=Started")
    kubectl.says("Scheduled", "get", "events.events.k8s.io")


def test_eviction_and_node_chores(kubectl: Kubectl) -> None:
    kubectl.says("cordoned", "cordon", "fairway")
    kubectl.says("uncordoned", "uncordon", "fairway")
    kubectl.says("evicted", "drain", "fairway", "--pod-selector=app=web", "--delete-emptydir-data", "--force")
    kubectl.says("condition met", "wait", "pods", "-l", "app=web", "--for=condition=PodScheduled=False", "--timeout=20s")
    assert "1 node(s) were unschedulable" in kubectl.run("describe", "pods", "-l", "app=web")
    kubectl.run("uncordon", "fairway")
    kubectl.says("successfully rolled out", "rollout", "status", "deploy/web", "--timeout=20s")


def test_delete(kubectl: Kubectl) -> None:
    kubectl.says("condition met", "wait", "pod/watched", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=20s")
    gone = kubectl.begin("wait", "pod/watched", "--for=delete", "--timeout=20s")
    kubectl.says('pod "watched" deleted', "delete", "pod", "watched", "--now")
    assert gone.wait(DEADLINE_S) == 0
    gone.communicate()
    kubectl.says('"web" deleted', "delete", "-f", "-", "--cascade=foreground", given=WEB)
    assert kubectl.run("get", "rs,pods", "-l", "app=web", "-o", "name") == ""
    kubectl.says("deleted", "delete", "service,configmap", "-l", "app=web,set!=one")
    kubectl.says('namespace "made" deleted', "delete", "namespace", "made")
    kubectl.says("NotFound", "get", "namespace", "made", fails=True)
