"""Sends recorded requests to the embedded API over HTTP and judges its answers."""

import asyncio
import base64
import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import yaml
from tests.cluster.api.served import TOKEN, FakeNode
from tests.recorded.kubernetes.differences import on_purpose, out_of_scope
from tests.recorded.kubernetes.names import Names
from tests.recorded.kubernetes.normal import (
    differences,
    events,
    is_surrounding,
    normal,
    within,
)
from tests.recorded.kubernetes.recording import namespaces
from tests.recorded.kubernetes.seeds import bare, mentioned, seeds, unknown_objects
from yarl import URL

from hatoba.cluster.api.assembly import open_api
from hatoba.cluster.api.server import serve
from hatoba.kernel.clock import SystemClock

FULL_OWNERSHIP = {"cr-crud", "ssa-basic", "ssa-lists", "kubectl-apply"}
SETTLE_SECONDS = 1.0
RUN_BY_CONTROLLERS = {
    "deployments",
    "horizontalpodautoscalers",
    "jobs",
    "persistentvolumeclaims",
    "pods",
}
ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}


@dataclass
class Outcome:
    """How the answers of one scenario compare."""

    scenario: str
    verdicts: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    wrong: list = field(default_factory=list)

    def count(self, verdict, reason=""):
        self.verdicts[verdict] += 1
        if reason:
            self.reasons[f"{verdict}: {reason}"] += 1

    def line(self):
        counts = self.verdicts
        return (
            f"{self.scenario:24}{counts['agreed']:8}{counts['on purpose']:12}"
            f"{counts['out of scope']:14}{counts['wrong']:7}"
        )


HEADER = f"{'scenario':24}{'agreed':>8}{'on purpose':>12}{'out of scope':>14}{'wrong':>7}"


@asynccontextmanager
async def served():
    api = open_api(None, clock=SystemClock(), admin_token=TOKEN, service_network="10.0.0.0/24")
    server = await serve(api, node=FakeNode(), tls=None)
    try:
        async with aiohttp.ClientSession(skip_auto_headers=["Content-Type", "Accept"]) as session:
            yield Player(session, f"http://{server.address}")
    finally:
        await server.close()
        api.close()


class Player:
    """Sends one exchange's request and returns what came back."""

    def __init__(self, session, base):
        self._session = session
        self._base = base
        self.names = Names()

    async def post(self, path, body, *, manager="krec", method="POST"):
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        url = f"{self._base}{path}?fieldManager={manager}"
        data = json.dumps(body).encode()
        async with self._session.request(method, url, data=data, headers=headers) as answer:
            document = await answer.json()
            if answer.status >= 300 and answer.status != 409:
                raise AssertionError(f"seeding {path} failed: {document}")
            return document

    def _headers(self, exchange):
        headers = {key: value for key, value in exchange.headers.items() if key != "Authorization"}
        headers["User-Agent"] = (
            "kubectl.1.32/v1.32.5" if exchange.raw["client"] == "kubectl" else "krec"
        )
        if exchange.raw.get("client_cert", True) and "Authorization" not in exchange.headers:
            headers["Authorization"] = f"Bearer {TOKEN}"
        elif "Authorization" in exchange.headers:
            headers["Authorization"] = "Bearer nonsense"
        return headers

    def _data(self, exchange):
        body = exchange.request
        if body is None:
            return None
        if isinstance(body, dict) and "_base64" in body:
            return base64.b64decode(body["_base64"])
        if isinstance(body, str):
            return body.encode()
        return json.dumps(self.names.in_body(body)).encode()

    def open(self, exchange):
        query = self.names.in_query(exchange.query)
        url = URL(f"{self._base}{exchange.path}" + (f"?{query}" if query else ""), encoded=True)
        return self._session.request(
            exchange.method, url, data=self._data(exchange), headers=self._headers(exchange)
        )

    async def call(self, exchange):
        async with self.open(exchange) as answer:
            text = await answer.text()
            if answer.content_type == "application/yaml":
                return answer.status, yaml.safe_load(text), answer.headers.getall("Warning", [])
            body = json.loads(text) if "json" in answer.headers.get("Content-Type", "") else text
            return answer.status, body, answer.headers.getall("Warning", [])

    async def watch(self, exchange, started, limit):
        """Read a stream until it ends, or until as much came as was recorded."""
        found = []
        try:
            async with self.open(exchange) as answer:
                status = answer.status
                if status != 200:
                    text = await answer.text()
                    started.set()
                    return status, json.loads(text)
                started.set()
                async with asyncio.timeout(limit):
                    async for line in answer.content:
                        found += [{"event": json.loads(line)}]
        except TimeoutError:
            pass
        finally:
            started.set()
        return status, found


async def replay(scenario, exchanges, definitions):
    """Replay a scenario against a fresh cluster."""
    outcome = Outcome(scenario)
    full = scenario in FULL_OWNERSHIP
    spaces = set(namespaces(exchanges))
    unknown = unknown_objects(exchanges, spaces)
    async with served() as player:
        await prepare(player, scenario, exchanges, definitions)
        watches = []
        for exchange in exchanges:
            reason = out_of_scope(scenario, exchange)
            if not reason and any(at in unknown for at in mentioned(exchange)):
                reason = "objects whose making was not recorded"
            if exchange.is_stream and exchange.status == 200 and not reason:
                started = asyncio.Event()
                limit = float(exchange.raw.get("duration") or 5) + SETTLE_SECONDS
                task = asyncio.create_task(player.watch(exchange, started, limit))
                await started.wait()
                watches.append((exchange, task))
                continue
            if reason and (exchange.is_stream or not exchange.is_write):
                outcome.count("out of scope", reason)
                continue
            status, body, warnings = await player.call(exchange)
            if reason:
                outcome.count("out of scope", reason)
                continue
            if status == exchange.status and isinstance(body, dict):
                player.names.learn(exchange.answer, body)
            body = within(body, exchange.path, spaces)
            found = _compare(exchange, status, body, warnings, full=full, spaces=spaces)
            _judge(outcome, exchange, found)
        for exchange, task in watches:
            status, answer = await task
            theirs = events(exchange.answer, full_ownership=full)
            if status != 200:
                found = [f"status {status}, recorded 200: {answer}"]
            else:
                ours = events(answer, full_ownership=full)
                if exchange.raw.get("ended") == "client":
                    ours = ours[: len(theirs)]
                found = differences(ours, theirs)
            _judge(outcome, exchange, found)
    return outcome


def _judge(outcome, exchange, found):
    if not found:
        outcome.count("agreed")
        return
    if _needs_controllers(exchange):
        outcome.count("out of scope", "what controllers and kubelets do")
        return
    reason = on_purpose(outcome.scenario, exchange)
    if reason:
        outcome.count("on purpose", reason)
        return
    outcome.count("wrong")
    outcome.wrong.append((exchange.title, found))


def _needs_controllers(exchange):
    _, plural, name, _ = exchange.place
    if plural in {"events", "endpoints", "endpointslices", "nodes", "replicasets"}:
        return exchange.method == "GET"
    if isinstance(exchange.answer, dict) and is_surrounding(exchange.answer):
        return True
    if plural in {"persistentvolumes", "persistentvolumeclaims"} and exchange.status < 300:
        return exchange.method in {"GET", "DELETE"}
    if exchange.is_stream or "Table" in exchange.headers.get("Accept", ""):
        return plural in RUN_BY_CONTROLLERS
    return plural == "pods" and exchange.method == "GET" and not name


def _compare(exchange, status, body, warnings, *, full, spaces):
    if status != exchange.status:
        said = body.get("message") if isinstance(body, dict) else body
        recorded = exchange.answer
        wanted = recorded.get("message", "") if isinstance(recorded, dict) else recorded
        return [f"status {status} ({said}), recorded {exchange.status} ({wanted})"]
    recorded = exchange.answer
    if isinstance(body, dict) and isinstance(recorded, str):
        recorded = yaml.safe_load(recorded)
    found = differences(
        normal(body, full_ownership=full),
        normal(within(recorded, exchange.path, spaces), full_ownership=full),
    )
    if sorted(warnings) != sorted(exchange.warnings):
        found.append(f"warnings {warnings}, recorded {exchange.warnings}")
    return found


async def prepare(player, scenario, exchanges, definitions):
    spaces = namespaces(exchanges)
    for name in ("default", "kube-system", "kube-public", "kube-node-lease", *spaces):
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await player.post("/api/v1/namespaces", space)
        await player.post(f"/api/v1/namespaces/{name}/serviceaccounts", ACCOUNT)
    if scenario != "crd-create":
        for definition in definitions:
            path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            await player.post(path, bare(definition))
    for path, obj in seeds(exchanges, set(spaces)):
        managers = [entry["manager"] for entry in obj["metadata"].get("managedFields") or ()]
        answer = await player.post(path, bare(obj), manager=managers[0] if managers else "krec")
        if obj["kind"] == "QuayRegistry" and "status" in obj:
            place = f"{path}/{obj['metadata']['name']}/status"
            status = {**answer, "status": obj["status"]}
            answer = await player.post(place, status, manager=managers[-1], method="PUT")
        player.names.learn(obj, answer)
