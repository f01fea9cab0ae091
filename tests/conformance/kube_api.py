"""Replays recorded conversations with a real API server: suite `kube-api`, one case a step.

Compared are status, content type, warnings and the whole body; `<uid-N>`, `<rv>`, `<time>`, `<continue>`, `<ip>`, ages, and
uids and times that a recording has literally, match what varies. Of several warnings a recording holds the last. Not compared:
descriptions of table columns (prose that is not ours), and the groups of Fairway's own definitions in the list of all groups.
Skipped: the steps in `INTENDED`, which are answered differently on purpose; those where the recorded server has an internal
error (500) and we do not; and those in `NOT_REPLAYED`, whose body was not recorded as it was sent. The reasons for refusing
several fields are compared in one order: the recorded one is that of a hash table.

A recording does not show what was there before its first step. What its steps take for granted is read from the recorded
answers and made first: objects that nobody creates, and, for a watch, the changes that it saw.
"""

from __future__ import annotations

import http.client
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from fairway.kube.crds import own_definitions
from tests.conformance.result import CaseResult
from tests.kube_http.serving import Served, serving

INTENDED = {
    "GET /version": "we present ourselves as v1.35: Python clients warn about later servers",
    "GET /version/": "we present ourselves as v1.35: Python clients warn about later servers",
}
_OTHER_BODY = "the recorded body is not the one that was answered: "
NOT_REPLAYED = {
    "crd/23": _OTHER_BODY + "the answer is about bad.gold.io, the body is widgets.gold.io",
    "crd/24": _OTHER_BODY + "the answer is about a property that the body does not have",
    "validation-errors/10": _OTHER_BODY + "the answer misses a restartPolicy that the body has",
}
_OURS = {definition["spec"]["group"] for definition in own_definitions()}
_SERVERS = ("priority", "preemptionPolicy", "tolerations")
"""What a server gives every pod: a premise that sent it would own it."""
_GIVEN = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "deletionTimestamp",
          "deletionGracePeriodSeconds", "selfLink")  # fmt: skip
_AGE = re.compile(r"^(\d+[smhdy])+$")
_PLACE = re.compile(r"<(uid-\d+|rv|time|continue|ip)>")
_ADDRESS = re.compile(r"^127\.0\.0\.1:\d+$")
_IP = re.compile(r"^\d+\.\d+\.\d+\.\d+$")
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|<uid>")
_CURRENT = re.compile(r"current: \d+")
_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")


def suites(root: Path) -> dict[str, Callable[[], Iterable[CaseResult]]]:
    folder = root / "kube-api"
    return {"kube-api": lambda: _all(folder)} if folder.is_dir() else {}


def _all(folder: Path) -> Iterator[CaseResult]:
    for file in sorted(folder.glob("*.json")):
        with tempfile.TemporaryDirectory() as state, serving(Path(state), tls=False) as served:
            yield from Replay(served, json.loads(file.read_text())).results()


class Replay:
    """One recording against one new server."""

    def __init__(self, served: Served, recording: dict[str, Any]) -> None:
        self._served = served
        self._scenario = recording["scenario"]
        self._namespace = recording["namespace"]
        self._steps = recording["steps"]
        self._uids: dict[str, str] = {}
        self._versions: dict[str, str] = {}
        self._begun: set[str] = set()

    def results(self) -> Iterator[CaseResult]:
        self._served.create("/api/v1/namespaces", self._namespace)
        for number, step in enumerate(self._steps):
            path = step["path"].replace("{ns}", self._namespace)
            case = f"{self._scenario}/{number:02d} {step['method']} {path}" + (f" ({step['note']})" if step["note"] else "")
            not_replayed = NOT_REPLAYED.get(f"{self._scenario}/{number:02d}")
            if reason := not_replayed or INTENDED.get(f"{step['method']} {path}"):
                yield CaseResult(case, "skipped", reason)
                continue
            answer: tuple[int, dict[str, list[str]], Any] | None = None
            try:
                self._premise(step, path)
                answer = self._send(step, path)
                differences = self._differences(step, *answer)
            except Exception as error:
                differences = [f"{type(error).__name__}: {error}"]
            if step.get("skip_compare"):
                continue  # such a step is only sent: its answer depends on the age of the recorded server
            if answer is not None and step["status"] == 500 and answer[0] < 500:
                yield CaseResult(case, "skipped", f"the recorded internal error is answered with {answer[0]} here")
            else:
                yield CaseResult(case, "failed" if differences else "passed", "; ".join(differences[:3]))

    # --- what was there -----------------------------------------------------------------------------------------------

    def _premise(self, step: dict[str, Any], path: str) -> None:
        recorded, query = step["response"], parse_qs(urlsplit(path).query)
        plain = urlsplit(path).path.replace("/watch/", "/")
        if step["status"] >= 400 or step.get("skip_compare") or not plain.startswith(("/api/v1/namespaces/", "/apis/")):
            return
        version = query.get("resourceVersion", [""])[0]
        if step["method"] == "GET" and plain not in self._begun:
            self._begun.add(plain)
            self._taken_for_granted(plain)
        if isinstance(recorded, list) and version not in ("", "0"):
            self._changes(recorded, plain, version)
        elif step["method"] in ("GET", "DELETE") and isinstance(recorded, dict) and f"/{self._namespace}/" in plain:
            self._present(recorded, plain)

    def _taken_for_granted(self, collection: str) -> None:
        """Make what any step shows of this collection and no step creates."""
        steps = [step for step in self._steps if urlsplit(step["path"]).path.startswith(collection)]
        made = {(step["response"].get("metadata") or {}).get("name") for step in steps
                if step["status"] == 201 and isinstance(step["response"], dict)}
        for step in steps:
            answer, asked = step["response"], urlsplit(step["path"])
            if asked.path != collection or step["method"] != "GET" or step["status"] != 200:
                continue
            events = answer if isinstance(answer, list) and "resourceVersion" not in parse_qs(asked.query) else []
            shown = answer.get("items") or [] if isinstance(answer, dict) else [e["object"] for e in events]
            for item in shown:
                name = (item.get("metadata") or {}).get("name")
                if name and name not in made and item.get("kind") not in ("Table", "PartialObjectMetadata"):
                    self._make(collection, item)

    def _present(self, recorded: dict[str, Any], path: str) -> None:
        if recorded.get("kind", "").endswith("List"):
            for item in recorded.get("items") or ():
                self._make(path, item)
        elif "metadata" in recorded and recorded["metadata"].get("name") and recorded.get("kind") != "Scale":
            base, _, name = path.rpartition("/")
            if name == recorded["metadata"]["name"]:
                self._make(base, recorded)

    def _make(self, collection: str, obj: dict[str, Any]) -> None:
        """Create what a recorded answer shows, where it is not there."""
        name = obj["metadata"]["name"]
        if self._served.ask("GET", f"{collection}/{name}")[0] != 404:
            return
        meta = {key: value for key, value in obj["metadata"].items() if key not in _GIVEN}
        body = {key: value for key, value in obj.items() if key not in ("status", "metadata")}
        if obj.get("kind") == "Pod":
            body["spec"] = {key: value for key, value in obj["spec"].items() if key not in _SERVERS}
        self._served.ask("POST", collection, {**body, "metadata": meta}, User_Agent="")

    def _changes(self, events: list[dict[str, Any]], path: str, version: str) -> None:
        """Let happen what a watch from `version` saw. Once: later watches from there see the same."""
        if version in self._versions:
            return
        listed = self._served.ask("GET", path)[1]
        self._versions[version] = listed["metadata"]["resourceVersion"]
        for event in events:
            obj = event["object"]
            name = obj["metadata"].get("name", "")
            body = {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k not in _GIVEN}}
            match event["type"]:
                case "ADDED":
                    self._served.ask("POST", path, body, User_Agent="")
                case "MODIFIED":
                    self._served.ask("PUT", f"{path}/{name}", body, User_Agent="")
                case "DELETED":
                    self._served.ask("DELETE", f"{path}/{name}")

    # --- one step -----------------------------------------------------------------------------------------------------

    def _send(self, step: dict[str, Any], path: str) -> tuple[int, dict[str, list[str]], Any]:
        address = urlsplit(self._served.server.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        headers = {"Authorization": f"Bearer {self._token(step)}"} if step.get("user") != "none" else {}
        if step.get("accept"):
            headers["Accept"] = step["accept"]
        data = None
        if step["body"] is not None:
            body = step["body"] if isinstance(step["body"], str) else json.dumps(self._own(step, path))
            data = body.replace("{ns}", self._namespace).encode()
            headers["Content-Type"] = step.get("ct") or "application/json"
        for old, new in self._versions.items():
            path = path.replace(f"resourceVersion={old}", f"resourceVersion={new}")
        try:
            connection.request(step["method"], quote(path, safe="/:?&=%,()!"), body=data, headers=headers)
            answer = connection.getresponse()
            found: dict[str, list[str]] = {}
            for name, value in answer.getheaders():
                found.setdefault(name.lower(), []).append(value)
            return answer.status, found, _decoded(answer.read(), step["response"])
        finally:
            connection.close()

    def _token(self, step: dict[str, Any]) -> str:
        return self._served.pki.token if step.get("user", "admin") == "admin" else f"user-{step['user']}"

    def _own(self, step: dict[str, Any], path: str) -> Any:
        """A body with the identity that its object has here instead of the recorded one."""
        body = json.loads(json.dumps(step["body"]))
        meta = body.get("metadata") if isinstance(body, dict) else None
        if not isinstance(meta, dict) or "uid" not in meta or step["method"] not in ("PUT", "PATCH"):
            return body
        status, present = self._served.ask("GET", urlsplit(path).path)
        if status == 200:
            for key in ("uid", "creationTimestamp"):
                meta[key] = present["metadata"].get(key)
            if step["status"] < 400 and meta.get("resourceVersion"):
                meta["resourceVersion"] = present["metadata"]["resourceVersion"]
        return body

    # --- comparing ----------------------------------------------------------------------------------------------------

    def _differences(self, step: dict[str, Any], status: int, headers: dict[str, list[str]], body: Any) -> list[str]:
        found = []
        if status != step["status"]:
            found.append(f"status {status}, recorded {step['status']}: {_short(body)}")
        for name in ("content-type", "warning"):
            ours, theirs = headers.get(name, []), step["headers"].get(name, "")
            same = theirs in ours if theirs else not ours
            if not same and (name == "warning" or status == step["status"]):
                found.append(f"{name} {ours!r}, recorded {theirs!r}")
        found += self._unequal(_in_order(step["response"]), _in_order(_without_ours(body)), "")
        return found

    def _unequal(self, recorded: Any, ours: Any, path: str) -> list[str]:
        if isinstance(recorded, dict) and isinstance(ours, dict):
            keys = [*recorded, *(key for key in ours if key not in recorded)]
            found = []
            for key in keys:
                where = f"{path}.{key}"
                if key not in ours:
                    found.append(f"{where} is missing")
                elif key not in recorded:
                    found.append(f"{where} is not recorded: {_short(ours[key])}")
                elif not (key == "description" and ".columnDefinitions[" in where):
                    found += self._unequal(recorded[key], ours[key], where)
            return found
        if isinstance(recorded, list) and isinstance(ours, list):
            if len(recorded) != len(ours):
                return [f"{path} has {len(ours)} entries, recorded {len(recorded)}"]
            return [f for i, pair in enumerate(zip(recorded, ours, strict=True)) for f in self._unequal(*pair, f"{path}[{i}]")]
        if isinstance(recorded, str) and isinstance(ours, str):
            return [] if self._same_text(recorded, ours) else [f"{path} is {_short(ours)}, recorded {_short(recorded)}"]
        return [] if recorded == ours else [f"{path} is {_short(ours)}, recorded {_short(recorded)}"]

    def _same_text(self, recorded: str, ours: str) -> bool:
        if recorded == ours or (_AGE.match(recorded) and _AGE.match(ours)):
            return True
        if any(kind.match(recorded) and kind.match(ours) for kind in (_ADDRESS, _TIME)):
            return True
        if _literal(recorded) == _literal(ours):
            return True
        parts, names = [], []
        at = 0
        for place in _PLACE.finditer(recorded):
            parts += [re.escape(recorded[at : place.start()]), "(.+?)"]
            names.append(place[1])
            at = place.end()
        if not names:
            return False
        match = re.fullmatch("".join([*parts, re.escape(recorded[at:])]), ours, re.DOTALL)
        return match is not None and all(self._fits(name, value) for name, value in zip(names, match.groups(), strict=True))

    def _fits(self, name: str, value: str) -> bool:
        match name:
            case "time":
                return _TIME.match(value) is not None
            case "rv":
                return value.isdigit()
            case "continue":
                return bool(value)
            case "ip":
                return _IP.match(value) is not None
        if name not in self._uids and value in self._uids.values():
            return False
        return self._uids.setdefault(name, value) == value


def _without_ours(answer: Any) -> Any:
    """The list of all groups, without those that Fairway brings."""
    for key in ("groups", "items"):
        if isinstance(answer, dict) and answer.get("kind") in ("APIGroupList", "APIGroupDiscoveryList") and key in answer:
            rows = [row for row in answer[key] if (row.get("name") or (row.get("metadata") or {}).get("name")) not in _OURS]
            answer = {**answer, key: rows}
    return answer


def _in_order(answer: Any) -> Any:
    """A refusal with its reasons in one order: those about a custom object come in that of a hash table."""
    causes = (answer.get("details") or {}).get("causes") if isinstance(answer, dict) else None
    if not causes or answer.get("reason") != "Invalid" or len(causes) < 2:
        return answer
    found = sorted(causes, key=lambda cause: (cause.get("field", ""), cause.get("message", "")))
    head, bracket, listed = answer["message"].partition(": [")
    parts = [f"{cause.get('field')}: {cause.get('message')}" for cause in found]
    rest = listed
    for part in set(parts):
        rest = rest.replace(part, "")
    message = f"{head}{bracket}{'; '.join(parts)} and {rest}"
    return {**answer, "message": message, "details": {**answer["details"], "causes": found}}


def _literal(text: str) -> str:
    """Without the uids and the version counters that stand in messages."""
    return _CURRENT.sub("current: 0", _UID.sub("uid", text))


def _decoded(data: bytes, recorded: Any) -> Any:
    text = data.decode()
    if isinstance(recorded, list):
        return [json.loads(line) for line in text.splitlines()]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 160 else text[:157] + "..."


