"""Whether somebody else's servers still answer, by the word of the pods that work with them.

They were asked by a Job before the rollout (`asking`); one that dies later is found here. Pods of
the registry tell it over the health endpoint that they have anyway, so that nothing is started for
it; they are asked now and then, not in each pass. A pod that cannot be reached tells nothing: from
outside of a cluster, or through a NetworkPolicy, this stays silent and condemns nobody.
"""

import asyncio
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import httpx2
import structlog

from hatoba.kernel.clock import Clock
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.components.probing import probed_kinds
from hatoba.operator.model import Owned, RegistryPlan, Verdict
from hatoba.operator.runtime.controller import Key

log = structlog.get_logger()

PERIOD_SECONDS: Final = 20.0
JITTER: Final = 0.25
"""By so much of it a period is shorter or longer: registries are not asked all at once."""
LIMIT_SECONDS: Final = 7.0
"""Longer than a pod takes to tell that a server of its own does not answer: five seconds."""
PODS_ASKED: Final = 3
LONGEST_ANSWER_BYTES: Final = 64 << 10
_PATH: Final = "/health/neighbours"
"""Pods of versions that do not know it tell nothing."""
_SERVICES: Final = {
    "postgres": "database",
    "redis": "redis",
    "objectstorage": "storage",
    "clair": "security_scanner",
}
"""Component -> what the registry calls its server."""
_TITLES: Final = {
    "postgres": "database",
    "redis": "Redis",
    "objectstorage": "object storage",
    "clair": "security scanner",
}


@dataclass(slots=True)
class _Known:
    """What was heard of one registry's servers, and when to ask again."""

    due: float
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)


class Neighbours:
    """Remembers what pods said of the servers that are not the operator's."""

    def __init__(self, *, clock: Clock, period_seconds: float = PERIOD_SECONDS) -> None:
        self._clock = clock
        self._period = period_seconds
        self._known: dict[Key, _Known] = {}

    async def silent(self, plan: RegistryPlan, owned: Owned) -> Mapping[str, Verdict]:
        """Return the components whose servers do not answer, as far as is known."""
        key = (plan.namespace, plan.name)
        kinds = probed_kinds(plan)
        if not kinds:
            self.forget(key)
            return {}
        now = self._clock.monotonic()
        known = self._known.get(key)
        if known is None or now >= known.due:
            wait = self._period * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
            verdicts = await self._heard(plan, owned, kinds)
            known = self._known[key] = _Known(due=now + wait, verdicts=verdicts)
        return known.verdicts

    def due_in_seconds(self, key: Key) -> float | None:
        """Return after how long a registry's pods are to be asked again; None: not at all."""
        known = self._known.get(key)
        return None if known is None else max(known.due - self._clock.monotonic(), 1.0)

    def forget(self, key: Key) -> None:
        """Forget a registry that is gone, or has no servers of others."""
        self._known.pop(key, None)

    async def _heard(
        self, plan: RegistryPlan, owned: Owned, kinds: Iterable[str]
    ) -> Mapping[str, Verdict]:
        pods = [pod["status"]["podIP"] for pod in _running(owned)]
        random.shuffle(pods)
        async with _client() as client:
            answers = await asyncio.gather(
                *(_asked(client, plan, address) for address in pods[:PODS_ASKED])
            )
        heard = [answer for answer in answers if answer is not None]
        return {
            kind: _verdict(plan, kind)
            for kind in kinds
            # One pod that reaches it is enough: what the others lack is not the server.
            if heard and all(answer.get(_SERVICES[kind]) is False for answer in heard)
        }


def _running(owned: Owned) -> list[JsonObject]:
    return [
        pod
        for pod in owned.pods({names.COMPONENT_KEY: "quay-app"})
        if (pod.get("status") or {}).get("podIP")
        and pod["status"].get("phase") == "Running"
        and not pod["metadata"].get("deletionTimestamp")
    ]


def _client() -> httpx2.AsyncClient:
    # Pods are asked by address: their certificate is for the registry's name.
    return httpx2.AsyncClient(verify=False, trust_env=False, timeout=LIMIT_SECONDS)


async def _asked(
    client: httpx2.AsyncClient, plan: RegistryPlan, address: str
) -> Mapping[str, object] | None:
    """Return service -> whether it answers the pod; None when the pod says nothing of use."""
    scheme, port = ("https", 8443) if plan.ends_tls_itself else ("http", 8080)
    host = f"[{address}]" if ":" in address else address
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            answer = await client.get(f"{scheme}://{host}:{port}{_PATH}")
        body = json.loads(answer.content) if len(answer.content) <= LONGEST_ANSWER_BYTES else None
    except (httpx2.HTTPError, OSError, TimeoutError, ValueError) as error:
        log.debug("pod not asked", namespace=plan.namespace, pod=address, error=repr(error))
        return None
    data = body.get("data") if isinstance(body, dict) else None
    services = data.get("services") if isinstance(data, dict) else None
    return services if isinstance(services, dict) else None


def _verdict(plan: RegistryPlan, kind: str) -> Verdict:
    with_key = ", with the SECURITY_SCANNER_V4_PSK there" if kind == "clair" else ""
    address = f"at the address in Secret {plan.bundle_name}{with_key}"
    return Verdict.bad(
        f"the external {_TITLES[kind]} does not answer the registry's pods",
        step=f"see that it runs and lets them in, {address}",
        diagnosed=True,
    )
