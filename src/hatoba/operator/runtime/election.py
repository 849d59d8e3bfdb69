"""One operator acts at a time: whoever holds the Lease.

Clocks of machines may differ: another holder's lease counts as expired when it was not seen to
change for its whole duration, by our own clock.
"""

import asyncio
from datetime import UTC
from typing import Final

import structlog

from hatoba.kernel.clock import Clock, rfc3339
from hatoba.kernel.errors import Conflict, Forbidden, HatobaError, Unauthenticated
from hatoba.kernel.ids import KUBERNETES_SUFFIX, random_text
from hatoba.kernel.json import JsonObject
from hatoba.operator.kubernetes import Cluster

log = structlog.get_logger()

LEASE_NAME: Final = "7daa4ab6.quay.redhat.com"
DURATION_SECONDS: Final = 15
RENEW_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 2.0
DEADLINE_SECONDS: Final = DURATION_SECONDS - RENEW_SECONDS
"""Whoever has not renewed for so long stops: before the Lease runs out for all others."""
LONGEST_MESSAGE: Final = 1024
"""The API refuses events with a longer message."""


class LostLeadership(HatobaError):
    """The lease could not be renewed in time; somebody else may act now."""


class Election:
    """Acquires and keeps the Lease."""

    def __init__(self, cluster: Cluster, *, namespace: str, identity: str, clock: Clock) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._identity = identity
        self._clock = clock
        self._seen: tuple[str, float] = ("", 0.0)
        self._refusal = ""
        """Why the API refuses the Lease; "" while it does not."""

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        while not await self._attempt():  # noqa: ASYNC110 -- another process holds it
            await asyncio.sleep(RETRY_SECONDS)
        log.info("leader elected", identity=self._identity)

    async def keep(self) -> None:
        """Renew the Lease until cancelled.

        Raises:
            LostLeadership: not renewed within its duration.
        """
        renewed, delay = self._clock.monotonic(), RENEW_SECONDS
        while True:
            await asyncio.sleep(delay)
            began = self._clock.monotonic()
            if await self._attempt_within(renewed + DEADLINE_SECONDS - began):
                # Others count from when they see the write, which is after it was sent.
                renewed, delay = began, RENEW_SECONDS
            elif self._clock.monotonic() - renewed >= DEADLINE_SECONDS:
                raise LostLeadership("the lease was not renewed in time")
            else:
                delay = RETRY_SECONDS

    async def _attempt_within(self, seconds: float) -> bool:
        """Try to renew; an API that does not answer in time has not renewed."""
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                return await self._attempt()
        except TimeoutError:
            return False

    async def release(self) -> None:
        """Let the next one start at once."""
        try:
            lease = await self._cluster.find("Lease", LEASE_NAME, namespace=self._namespace)
            if lease is not None and lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._cluster.replace(lease)
        except HatobaError as error:
            log.warning("lease not released", error=error.message)

    async def _attempt(self) -> bool:
        try:
            lease = await self._cluster.find("Lease", LEASE_NAME, namespace=self._namespace)
            if lease is None:
                await self._cluster.create(self._lease({}))
                return True
            if not self._may_take(lease):
                return False
            await self._cluster.replace(self._lease(lease))
        except Conflict:
            return False
        except (Forbidden, Unauthenticated) as error:
            await self._tell(error.message)
            return False
        except HatobaError as error:
            log.warning("lease not renewed", error=error.message)
            return False
        self._refusal = ""
        return True

    async def _tell(self, refusal: str) -> None:
        """Say once, in the log and as an Event, that nobody can lead: it looks like idleness."""
        if refusal == self._refusal:
            return
        self._refusal = refusal
        message = (
            f"no operator can lead, so no registry is looked after: {refusal.rstrip('.')}; "
            "grant its service account what deploy/base/roles.yaml lists for leases"
        )
        log.error("lease refused", lease=LEASE_NAME, namespace=self._namespace, error=refusal)
        try:
            await self._cluster.create(self._event(message))
        except HatobaError as error:
            log.warning("event not recorded", reason="LeaseRefused", error=error.message)

    def _event(self, message: str) -> JsonObject:
        now = rfc3339(self._clock.now())
        involved = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "name": LEASE_NAME,
            "namespace": self._namespace,
        }
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{LEASE_NAME}.{random_text(16, KUBERNETES_SUFFIX)}",
                "namespace": self._namespace,
            },
            "involvedObject": involved,
            "reason": "LeaseRefused",
            "message": message[:LONGEST_MESSAGE],
            "type": "Warning",
            "source": {"component": "quayregistry-controller"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }

    def _may_take(self, lease: JsonObject) -> bool:
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder in ("", self._identity):
            return True
        version = str(lease["metadata"].get("resourceVersion", ""))
        if version != self._seen[0]:
            self._seen = (version, self._clock.monotonic())
        duration = float(spec.get("leaseDurationSeconds") or DURATION_SECONDS)
        return self._clock.monotonic() - self._seen[1] > duration

    def _lease(self, old: JsonObject) -> JsonObject:
        now = self._clock.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = old.get("spec") or {}
        ours = spec.get("holderIdentity") == self._identity
        transitions = int(spec.get("leaseTransitions") or 0)
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": old.get("metadata") or {"name": LEASE_NAME, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": DURATION_SECONDS,
                "acquireTime": spec.get("acquireTime", now) if ours else now,
                "renewTime": now,
                "leaseTransitions": transitions if ours or not old else transitions + 1,
            },
        }
