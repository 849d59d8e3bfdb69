"""Repeats the recorded exchanges against our registry, in process, and compares the answers."""

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx2
import yaml
from starlette.routing import Match, Route
from tests.recorded.quay.actors import Actors
from tests.recorded.quay.recording import (
    SECRET,
    SHARED,
    SIGNED,
    UUID,
    blob,
    comparable,
    exchanges,
    is_truncated,
    pairs,
)
from tests.recorded.quay.verdicts import NOT_BUILT, UNSENT, in_scope, purpose

from hatoba.config.loader import Configuration
from hatoba.config.schema import QuayConfig
from hatoba.kernel.clock import FixedClock
from hatoba.registry.api.app import ROWS
from hatoba.registry.app import make_application, open_services

RECORDED_AT = datetime(2026, 11, 23, 19, 28, tzinfo=UTC)
"""Bodies name moments that were to come then."""
ROUTES = [Route(row.path, lambda request: None, methods=[row.method]) for row in ROWS]
OTHER_PATHS = ("/v2/", "/csrf_token", "/api/v1/user/initialize", "/v1/_ping")


def settings_for(profile, *, uri, storage):
    """Return the recorded configuration upon our database and storage."""
    name = "config.yaml" if profile == "default" else f"config.{profile}.yaml"
    path = SHARED / name
    values = yaml.safe_load((path if path.exists() else SHARED / "config.yaml").read_text())
    values["DB_URI"] = uri
    values["DISTRIBUTED_STORAGE_CONFIG"] = {
        "default": ["LocalStorage", {"storage_path": str(storage)}]
    }
    for key in ("BUILDLOGS_REDIS", "USER_EVENTS_REDIS", "PULL_METRICS_REDIS"):
        values.pop(key, None)
    return QuayConfig.model_validate(values)


def is_built(exchange):
    """Say whether a route of ours serves the path of an exchange."""
    path = exchange["path"] or ""
    if path == "/v2" or path.startswith(OTHER_PATHS):
        return True
    if not path.startswith("/api/v1/"):
        return False
    scope = {"type": "http", "method": exchange["method"], "path": path.removeprefix("/api/v1")}
    return any(
        route.matches({**scope, "path": candidate})[0] is not Match.NONE
        for route in ROUTES
        for candidate in (scope["path"], scope["path"] + "/")
    )


@dataclass
class Outcome:
    """The verdicts on all exchanges."""

    counts: dict = field(default_factory=lambda: defaultdict(Counter))
    wrong: list = field(default_factory=list)
    purposes: Counter = field(default_factory=Counter)

    def add(self, exchange, verdict, note=""):
        self.counts[exchange["area"]][verdict] += 1
        if verdict == "wrong":
            line = f"{exchange['seq']} {exchange['step']} {exchange['method']} {exchange['path']}"
            self.wrong.append(f"{line}: {note}")
        if verdict == "on purpose":
            self.purposes[note] += 1

    @property
    def totals(self):
        total = Counter()
        for counter in self.counts.values():
            total += counter
        return total

    def table(self):
        names = ("agreed", "on purpose", "out of scope", "wrong")
        lines = [f"{'area':28}" + "".join(f"{name:>14}" for name in names)]
        for area, counter in sorted(self.counts.items()):
            lines.append(f"{area:28}" + "".join(f"{counter[name]:>14}" for name in names))
        lines.append(f"{'total':28}" + "".join(f"{self.totals[name]:>14}" for name in names))
        return "\n".join(lines)


class Replay:
    """One pass over the recording."""

    def __init__(self, *, uri, storage):
        self.uri, self.storage = uri, storage
        self.actors, self.known, self.outcome, self.pages = Actors(), {}, Outcome(), {}
        self.clock = FixedClock(RECORDED_AT)

    def substitute(self, text):
        """Put our identifiers in place of theirs."""

        def swap(match):
            return self.known.get(match.group(0), match.group(0))

        return SECRET.sub(swap, UUID.sub(swap, text))

    async def run(self, stack):
        clients = {}
        for exchange in exchanges():
            profile = exchange["config"]
            if profile not in clients:
                settings = settings_for(profile, uri=self.uri, storage=self.storage)
                configuration = Configuration(directory=self.storage, settings=settings, unused=())
                services = await stack.enter_async_context(
                    open_services(configuration, clock=self.clock)
                )
                services.rooms.users.hasher.rounds = 4
                transport = httpx2.ASGITransport(
                    make_application(services), raise_app_exceptions=False
                )
                client = httpx2.AsyncClient(transport=transport, base_url="http://localhost:5180")
                clients[profile] = await stack.enter_async_context(client), services.rooms
            # As much later as in the recording, roughly: throttling depends on it.
            self.clock.advance(seconds=_pause(exchange))
            await self._one(exchange, *clients[profile])
        return self.outcome

    async def _one(self, exchange, client, rooms):
        area = exchange["area"]
        if not in_scope(exchange) or not is_built(exchange):
            self.outcome.add(exchange, "out of scope")
            return
        if exchange["step"] in UNSENT:
            self.outcome.add(exchange, "on purpose", UNSENT[exchange["step"]])
            return
        response = await self._send(exchange, client, rooms)
        if response is None:
            self.outcome.add(exchange, "out of scope")
            return
        ours = _decoded(response)
        self.actors.learn(exchange, response, ours)
        self._learn(exchange, response, ours)
        if area in NOT_BUILT:
            self.outcome.add(exchange, "out of scope")
            return
        difference = _difference(exchange, response, ours)
        if difference is None:
            self.outcome.add(exchange, "agreed")
            return
        reason = purpose(exchange, response.status_code)
        self.outcome.add(exchange, "on purpose" if reason else "wrong", reason or difference)

    async def _send(self, exchange, client, rooms):
        await self._registry_token(exchange, client, rooms)
        headers = await self.actors.headers(exchange, rooms=rooms, substitute=self.substitute)
        if headers is None:
            return None
        client.cookies.clear()
        query = self.substitute(exchange["query"] or "")
        if "next_page=gAAAA" in query:
            following = self.pages.get(exchange["path"], "")
            query = re.sub("next_page=[^&]*", f"next_page={following}", query)
        path = self.substitute(exchange["path"])
        return await client.request(
            exchange["method"],
            path + (f"?{query}" if query else ""),
            headers=headers,
            content=self._content(exchange),
        )

    def _content(self, exchange):
        body = exchange["request_body"]
        if body is None:
            return None
        if isinstance(body, dict) and "$blob" in body:
            return blob(body)
        if isinstance(body, str):
            return body.encode()
        return self.substitute(json.dumps(body)).encode()

    async def _registry_token(self, exchange, client, rooms):
        """Get the registry token that an exchange needs, where its own request was not replayed."""
        header = (exchange.get("request_headers") or {}).get("Authorization", "")
        label = header.removeprefix("Bearer <").removesuffix(">")
        if not label.startswith("v2:") or (
            label in self.actors.registry and "wrong_aud" not in exchange["step"]
        ):
            return
        actor, colon, scope = label.removeprefix("v2:").partition(":repository:")
        asked = {**exchange, "actor": actor, "request_headers": {}}
        if actor != "anonymous":
            asked["request_headers"] = {"Authorization": f"Basic <{actor.rstrip(':')}>"}
        headers = await self.actors.headers(asked, rooms=rooms, substitute=self.substitute)
        params = {"service": "localhost:5180"}
        if colon:
            params["scope"] = f"repository:{scope}"
        if "wrong_aud" in exchange["step"]:
            params["service"] = "other.example.com"
        client.cookies.clear()
        response = await client.get("/v2/auth", params=params, headers=headers)
        if response.status_code == 200:
            self.actors.registry[label] = response.json()["token"]

    def _learn(self, exchange, response, ours):
        if isinstance(ours, dict) and "next_page" in ours:
            self.pages[exchange["path"]] = ours["next_page"]
        for theirs, mine in pairs(exchange["response_body"], ours):
            if UUID.fullmatch(theirs) or SECRET.fullmatch(theirs):
                self.known.setdefault(theirs, mine)
        recorded = exchange.get("response_headers") or {}
        for name in ("Docker-Upload-UUID", "Location"):
            theirs, mine = recorded.get(name, ""), response.headers.get(name, "")
            for left, right in zip(UUID.findall(theirs), SIGNED.findall(mine), strict=False):
                self.known[left] = right
        if exchange["path"] == "/v2/auth" and response.status_code == 200:
            query = httpx2.QueryParams(exchange["query"] or "")
            if query.get("service") == "localhost:5180":
                label = f"v2:{exchange['actor']}:{','.join(query.get_list('scope'))}"
                self.actors.registry[label] = ours["token"]


def _pause(exchange):
    if "lockout." in exchange["step"]:
        return 0
    return 1 if exchange["area"] in {"users", "session"} else 0.16


def _decoded(response):
    try:
        return response.json()
    except ValueError:
        return response.text


def _difference(exchange, response, ours):
    """Say in what an answer differs; None when it agrees."""
    if response.status_code != exchange["status"]:
        return f"status {response.status_code} instead of {exchange['status']}: {str(ours)[:150]}"
    theirs = exchange["response_body"]
    if isinstance(theirs, str):
        try:
            theirs = json.loads(theirs)
        except ValueError:
            return None
    if is_truncated(theirs) or exchange["method"] == "HEAD" or theirs in ("", None, True):
        return None
    left, right = comparable(theirs), comparable(ours)
    if exchange["path"].startswith("/v2"):
        left, right = _codes(left), _codes(right)
    if left == right:
        return None
    return "body " + _first_difference(left, right)


def _codes(body):
    """Return the codes of an error of /v2, whose words are not contract; other bodies as they are."""
    if isinstance(body, dict) and "errors" in body:
        return [error["code"] for error in body["errors"]]
    return body


def _first_difference(left, right, path=""):
    if isinstance(left, dict) and isinstance(right, dict):
        for key in [*left, *(key for key in right if key not in left)]:
            if left.get(key, "<absent>") != right.get(key, "<absent>"):
                return _first_difference(
                    left.get(key, "<absent>"), right.get(key, "<absent>"), f"{path}.{key}"
                )
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            if one != other:
                return _first_difference(one, other, f"{path}[{index}]")
    return f"{path}: {str(right)[:160]} instead of {str(left)[:160]}"
