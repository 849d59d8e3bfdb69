"""Replays a recording of a real cluster against the controllers and compares where both end.

Every write of the recording is made again at its time (the loop's clock jumps), a pretended
kubelet runs the pods as long as the real one did, and at the end the objects that the recording
watched are compared, with what no two clusters share (uids, times, hashes, addresses) made equal.
"""

import asyncio
import copy
import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.controllers.conftest import Cluster, Machine
from typing_extensions import override

from hatoba.cluster.objects import EVENTS, NAMESPACES, PODS, ResourceName
from hatoba.kernel.errors import Conflict, HatobaError, NotFound

COMPARED = {
    "Deployment": ResourceName("deployments", "apps"),
    "ReplicaSet": ResourceName("replicasets", "apps"),
    "Job": ResourceName("jobs", "batch"),
    "HorizontalPodAutoscaler": ResourceName("horizontalpodautoscalers", "autoscaling"),
    "PersistentVolumeClaim": ResourceName("persistentvolumeclaims"),
    "PersistentVolume": ResourceName("persistentvolumes"),
    "Endpoints": ResourceName("endpoints"),
    "EndpointSlice": ResourceName("endpointslices", "discovery.k8s.io"),
}
_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v[^/]+(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[a-z]+))?$"
)
_NOTHING = "no metrics returned from resource metrics API"
_SETTLING = 6.0
_TIMES = ("Time", "Timestamp", "timestamp")


@dataclass
class Recording:
    """The exchanges of one scenario."""

    exchanges: list
    namespace: str
    watched: dict = field(default_factory=dict)
    """(kind, name) -> the last state seen, None when deleted."""
    first: dict = field(default_factory=dict)
    order: list = field(default_factory=list)
    events: list = field(default_factory=list)
    kinds: set = field(default_factory=set)
    ends: float = 0.0

    @classmethod
    def load(cls, path: Path, namespace: str) -> "Recording":
        made = cls([json.loads(line) for line in path.read_text().splitlines()], namespace)
        for exchange in made.exchanges:
            if isinstance(exchange.get("response_body"), list):
                made._read_watch(exchange)
        return made

    def _read_watch(self, exchange):
        is_whole = "fieldSelector" not in (exchange.get("query") or "")
        if is_whole:
            self.ends = max(self.ends, exchange["t"] + exchange.get("duration", 0))
        for entry in exchange["response_body"]:
            event = entry.get("event")
            if not isinstance(event, dict):
                continue
            obj = event["object"]
            kind, name = obj.get("kind"), obj.get("metadata", {}).get("name")
            if kind == "Event":
                self.events.append(obj)
            elif kind in COMPARED or kind == "Pod":
                if is_whole:
                    self.kinds.add(kind)
                if (kind, name) not in self.first:
                    self.first[kind, name] = obj
                    self.order.append((kind, name))
                if is_whole:
                    self.watched[kind, name] = None if event["type"] == "DELETED" else obj


class RecordedMachine(Machine):
    """Runs pods as long as their commands say."""

    @override
    async def _start(self, pod):
        uid = pod["metadata"]["uid"]
        if uid in self._seen:
            return
        self._seen.add(uid)
        container = pod["spec"]["containers"][0]
        if "/absent:" in container["image"]:
            return
        command = " ".join(container.get("command") or ())
        self._tasks.append(asyncio.create_task(self._live(pod, command)))

    async def _live(self, pod, command):
        key = pod["metadata"]["name"], pod["metadata"]["namespace"]
        fails = re.search(r"exit [1-9]", command)
        again = pod["spec"].get("restartPolicy") == "OnFailure"
        await asyncio.sleep(1.2)
        if "sleep 3600" in command or "sleep 100" in command:
            await self._say(key, "Running", ready=False)
            await asyncio.sleep(1.0)
            await self._say(key, "Running", ready=True)
        elif fails and again:
            await self._say(key, "Running", ready=False, restarts=1)
        else:
            await self._say(key, "Running", ready=True)
            await asyncio.sleep(1.0)
            await self._say(key, "Failed" if fails else "Succeeded", ready=False)

    async def _say(self, key, phase, *, ready, restarts=0):
        while True:
            with suppress(NotFound):
                pod = await self.objects.get(PODS, *key)
                if pod["metadata"].get("deletionTimestamp"):
                    return
                try:
                    await self._status(pod, phase, ready=ready, restarts=restarts)
                except Conflict:
                    continue
            return

    @override
    async def _look(self, pod):
        meta = pod["metadata"]
        if meta.get("deletionTimestamp"):
            if ("ending", meta["uid"]) not in self._seen:
                self._seen.add(("ending", meta["uid"]))
                self._tasks.append(asyncio.create_task(self._stop(meta)))
            return
        await super()._look(pod)

    async def _stop(self, meta):
        await asyncio.sleep(2.0)
        while True:
            try:
                pod = await self.objects.get(PODS, meta["name"], meta["namespace"])
                if pod["metadata"]["uid"] != meta["uid"]:
                    return
                if not await self._finish(pod):
                    await self._end(pod)
                    return
            except NotFound:
                return
            except Conflict:
                continue


class Replay:
    """One recording played to one cluster."""

    def __init__(self, recording: Recording, cluster: Cluster, *, hidden=()) -> None:
        """`hidden` are (time, coroutine function of the cluster): deeds that were not recorded."""
        self.hidden = hidden
        self.recording = recording
        self.cluster = cluster
        self.objects = cluster.objects
        self.names: dict = {}
        self.refused: list = []

    async def run(self) -> None:
        namespace = {"apiVersion": "v1", "kind": "Namespace"} | {
            "metadata": {"name": self.recording.namespace}
        }
        await self.objects.create(NAMESPACES, namespace, manager="replay")
        await asyncio.sleep(1)
        await self._make_what_was_there()
        start = asyncio.get_running_loop().time()
        hidden = [asyncio.create_task(self._later(at, deed)) for at, deed in self.hidden]
        for exchange in self.recording.exchanges:
            if exchange["method"] == "GET" or not 200 <= exchange["status"] < 300:
                continue
            late = asyncio.get_running_loop().time() - start
            await asyncio.sleep(max(exchange["t"] - late, 0))
            if exchange["t"] > self.recording.ends:
                break
            await self._write(exchange)
        late = asyncio.get_running_loop().time() - start
        await asyncio.sleep(max(self.recording.ends - late, 0) + _SETTLING)
        await asyncio.gather(*hidden)

    async def _later(self, at, deed):
        await asyncio.sleep(at)
        await deed(self.cluster)

    async def _make_what_was_there(self) -> None:
        """Create the objects that recorded writes do not: those of hidden preparation."""
        posted = set()
        for exchange in self.recording.exchanges:
            if exchange["method"] == "POST" and exchange["status"] == 201:
                body = exchange["response_body"]
                posted.add((body["kind"], body["metadata"]["name"]))
        made = False
        for kind, name in self.recording.order:
            obj = self.recording.first[kind, name]
            owned = obj["metadata"].get("ownerReferences")
            if kind == "Deployment" and (kind, name) not in posted and not owned:
                await self._create(obj)
                made = True
        if made:
            await asyncio.sleep(4)

    async def _create(self, obj) -> None:
        meta = obj["metadata"]
        kept = {key: meta[key] for key in ("name", "namespace", "labels") if key in meta}
        clean = copy.deepcopy({key: obj[key] for key in obj if key not in {"metadata", "status"}})
        spec = clean.get("spec", {})
        if obj["kind"] == "Job":
            spec.pop("selector", None)
            spec["template"].get("metadata", {}).pop("labels", None)
            kept.pop("labels", None)
        for volatile in ("clusterIP", "clusterIPs"):
            if obj["kind"] == "Service" and spec.get(volatile) not in ("None", ["None"]):
                spec.pop(volatile, None)
        clean["metadata"] = kept
        await self.objects.create(_resource_of(obj), clean, manager="replay")

    async def _write(self, exchange) -> None:
        match = _PATH.match(exchange["path"])
        assert match, exchange["path"]
        resource = ResourceName(match["plural"], match["group"] or "")
        body = exchange.get("request_body")
        try:
            if exchange["method"] == "POST":
                recorded = exchange["response_body"]
                kind, name = recorded["kind"], recorded["metadata"]["name"]
                is_json = isinstance(body, dict) and "_base64" not in body
                given = body if is_json else self.recording.first.get((kind, name), recorded)
                given = {**given, "kind": kind, "apiVersion": given.get("apiVersion", "v1")}
                if match["namespace"]:
                    given["metadata"] = {**given["metadata"], "namespace": match["namespace"]}
                await self._create(given)
                return
            name = await self._ours(resource, match["name"], match["namespace"])
            if exchange["method"] == "DELETE":
                propagation = (body or {}).get("propagationPolicy")
                await self.objects.delete(
                    resource, name, match["namespace"], propagation=propagation
                )
            elif exchange["method"] == "PATCH":
                await self.objects.patch(
                    resource,
                    name,
                    match["namespace"],
                    self._renamed(body),
                    type=exchange["request_headers"]["Content-Type"],
                    manager="replay",
                    subresource=match["sub"] or "",
                )
        except HatobaError as error:
            self.refused.append((exchange["step"], error.message))

    def _renamed(self, body):
        return json.loads(json.dumps(body))

    async def _ours(self, resource, name, namespace):
        """Return the name here of what bore this name there."""
        if (resource, name) in self.names:
            return self.names[resource, name]
        items = (await self.objects.list(resource, namespace)).items
        present = sorted(item["metadata"]["name"] for item in items)
        if name in present:
            return name
        prefix = name.rsplit("-", 2)[0] if resource == PODS else name.rsplit("-", 1)[0]
        taken = set(self.names.values())
        ours = next(
            (item for item in present if item.startswith(prefix) and item not in taken), name
        )
        self.names[resource, name] = ours
        return ours

    async def outcome(self) -> dict:
        """Return our objects of the kinds that the recording watched, and our events."""
        found = {}
        for kind in sorted(self.recording.kinds & COMPARED.keys()):
            namespaced = kind != "PersistentVolume"
            items = await self.objects.list(
                COMPARED[kind], self.recording.namespace if namespaced else None
            )
            for item in items.items:
                found[kind, item["metadata"]["name"]] = item
        events = (await self.objects.list(EVENTS, self.recording.namespace)).items
        return summarize(found, events, self.recording.kinds & COMPARED.keys())

    def expected(self) -> dict:
        """Return the same of the recording."""
        found = {
            key: obj
            for key, obj in self.recording.watched.items()
            if obj is not None and key[0] in COMPARED
        }
        return summarize(found, self.recording.events, self.recording.kinds & COMPARED.keys())


def _resource_of(obj):
    group, slash, _ = obj["apiVersion"].partition("/")
    plural = obj["kind"].lower() + ("es" if obj["kind"].endswith("ss") else "s")
    return ResourceName(plural, group if slash else "")


def summarize(objects: dict, events: list, kinds: set) -> dict:
    """Return `kind/name` -> what both clusters must agree on, and "events" -> the notes."""
    renames = _renames(objects, events)

    def plain(value):
        text = json.dumps(value)
        for pattern, replacement in renames:
            text = re.sub(pattern, replacement, text)
        return json.loads(text)

    summary = {}
    for (kind, name), obj in objects.items():
        meta = obj["metadata"]
        essence = {
            "labels": meta.get("labels") or {},
            "annotations": {
                key: value
                for key, value in (meta.get("annotations") or {}).items()
                if not key.startswith("endpoints.kubernetes.io/")
                and key != "kubectl.kubernetes.io/restartedAt"
            },
            "finalizers": sorted(meta.get("finalizers") or []),
            "deleting": bool(meta.get("deletionTimestamp")),
            "status": obj.get("status") or {},
        }
        for member in ("subsets", "endpoints", "ports"):
            if obj.get(member):
                essence[member] = obj[member]
        if kind == "ReplicaSet":
            essence["replicas"] = obj["spec"]["replicas"]
        summary[f"{kind}/{plain(name)}"] = plain(_stable(essence))
    notes = {
        (
            event["involvedObject"]["kind"],
            plain(event["involvedObject"]["name"]),
            event["type"],
            event["reason"],
            plain(event["message"]),
        )
        for event in events
        if event.get("reportingComponent") != "kubelet" and event["involvedObject"]["kind"] in kinds
    }
    summary["events"] = sorted(notes)
    return summary


def _renames(objects, events):
    """Patterns that give generated names one form: by order of creation, per prefix."""
    sets = {}
    for (kind, name), obj in objects.items():
        if kind == "ReplicaSet":
            revision = obj["metadata"].get("annotations", {})
            first = revision.get("deployment.kubernetes.io/revision-history", "").split(",")[0]
            order = int(first or revision.get("deployment.kubernetes.io/revision", 0))
            sets[name] = f"{name.rsplit('-', 1)[0]}-<{order}>"
    hashes = [
        (re.escape(name.rsplit("-", 1)[1]), label.rsplit("-", 1)[1]) for name, label in sets.items()
    ]
    return [
        *((re.escape(name), label) for name, label in sets.items()),
        *hashes,
        (r'(ReplicaSet \\*")([a-z]+)-[a-z0-9]{6,10}(\\*")', r"\1\2-<>\3"),
        (r"(replica set [a-z]+)-[a-z0-9]{6,10} from", r"\1-<> from"),
        (r"the server could not find the requested resource \(get pods.metrics.k8s.io\)", _NOTHING),
        (r"unable to fetch metrics from resource metrics API: " + _NOTHING, _NOTHING),
        (r"(Created|Deleted) pod: (.*)-[a-z0-9]{5}\b", r"\1 pod: \2-*"),
        (r'("name": ")([a-z]+)-[a-z0-9]{5,10}-[a-z0-9]{5}"', r'\1\2-<>-*"'),
        (r"\b10\.244\.\d+\.\d+|\b127\.1\.\d+\.\d+", "<address>"),
        (r'"[0-9a-f]{8}-[0-9a-f-]{27}"', '"<uid>"'),
        (r"(controller-uid\": \")[0-9a-f-]+", r"\1<uid>"),
        (r"((?:web|headless|np|lb|named|notready|sess|cs)-)[a-z0-9]{5}\"$", r'\1*"'),
        (r"(?<=multiple HPAs: \[)([^]]*)", lambda match: " ".join(sorted(match[1].split()))),
    ]


def _stable(value):
    if isinstance(value, dict):
        return {
            key: _stable(item)
            for key, item in value.items()
            if not key.endswith(_TIMES) and item is not None
        }
    if isinstance(value, list):
        return [_stable(item) for item in value]
    return value


def differences(expected: dict, actual: dict) -> list[str]:
    """Return one line per member in which they differ."""
    lines = []
    for key in sorted({*expected, *actual} - {"events"}):
        if key not in actual or key not in expected:
            lines.append(f"{key}: {'absent' if key not in actual else 'not expected'}")
            continue
        for member in sorted({*expected[key], *actual[key]}):
            theirs, ours = expected[key].get(member), actual[key].get(member)
            if theirs != ours:
                lines.append(f"{key} {member}:\n    theirs {theirs}\n    ours   {ours}")
    lines.extend(
        f"event {'missing' if note in expected['events'] else 'not expected'}: {note}"
        for note in sorted({*expected["events"]} ^ {*actual["events"]})
    )
    return lines
