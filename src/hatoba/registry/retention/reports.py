"""What a collection would take, and why a digest is kept. Changes nothing and locks nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.clock import from_milliseconds, rfc3339
from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.driver import BlobMissing
from hatoba.registry.content.models import RepositoryState
from hatoba.registry.retention import policy, store, store_purge, store_reports, store_scrub
from hatoba.registry.retention.models import (
    DoomedBlob,
    DoomedManifest,
    Explanation,
    Family,
    Plan,
    Times,
)
from hatoba.registry.retention.service import Collector

SHOWN = 20
"""How many manifests that name a blob are told."""


@dataclass(slots=True, kw_only=True)
class _Doomed:
    """What a plan has found so far."""

    repositories: list[int] = field(default_factory=list)
    tags: int = 0
    manifests: dict[int, str] = field(default_factory=dict)
    """Ids with the reason."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Reports:
    """Answers for whoever runs the registry."""

    collector: Collector

    async def plan(self) -> Plan:
        """Return what the collection would remove if it ran now."""
        doomed = _Doomed()
        async with self.collector.shelf.database.read() as connection:
            await self._plan_deleted(connection, doomed)
            await self._plan_expired(connection, doomed)
            await self._plan_loose(connection, doomed)
            rows = await store_reports.digests_of(connection, manifest_ids=set(doomed.manifests))
            ids = [*doomed.repositories, *(row.repository_id for row in rows)]
            names = await store_reports.repository_names(connection, repository_ids=ids)
            return Plan(
                repositories=[names[one] for one in doomed.repositories],
                expired_tags=doomed.tags,
                manifests=[
                    DoomedManifest(
                        repository=names[row.repository_id],
                        digest=row.digest,
                        reason=doomed.manifests[row.id],
                    )
                    for row in rows
                ],
                blobs=await self._plan_blobs(connection, doomed),
            )

    async def explain(self, digest: Digest) -> Explanation:
        """Say what keeps a manifest or blob, or that nothing does."""
        text, reasons = str(digest), []
        is_kept = False
        async with self.collector.shelf.database.read() as connection:
            found = await store_reports.manifests_with(connection, digest=text)
            for row in found:
                kept, told = await self._explain_manifest(
                    connection, row.id, repository_id=row.repository_id
                )
                is_kept |= kept
                reasons += told
            blobs = await store_reports.blobs_with(connection, digest=text)
            for row in blobs:
                kept, told = await self._explain_blob(connection, row.id, since=row.since)
                is_kept |= kept
                reasons += told
            damage = await store_scrub.find_damage(connection, digest=text)
        if damage is not None:
            reasons.append(f"it was found {damage} and is not offered until it is pushed again")
        if blobs:
            reasons.append(await self._tell_bytes(digest))
        return Explanation(
            digest=text, is_known=bool(found or blobs), is_kept=is_kept, reasons=reasons
        )

    async def _plan_deleted(self, connection: AsyncConnection, doomed: _Doomed) -> None:
        after_id = 0
        while ids := await store_purge.deleted_after(connection, after_id=after_id, limit=1000):
            after_id = ids[-1]
            doomed.repositories += ids
            for repository_id in ids:
                for manifest_id in await store_reports.manifests_of(
                    connection, repository_id=repository_id
                ):
                    doomed.manifests[manifest_id] = "its repository was deleted"

    async def _plan_expired(self, connection: AsyncConnection, doomed: _Doomed) -> None:
        after_id, now_ms = 0, self.collector.shelf.now_ms()
        while ids := await store.repositories_with_expired_tags(
            connection, after_id=after_id, now_ms=now_ms, limit=1000
        ):
            after_id = ids[-1]
            for repository_id in ids:
                times = await self._times(connection, repository_id)
                rows = await store.expired_tags(
                    connection, repository_id=repository_id, times=times, limit=None
                )
                doomed.tags += len(rows)
                seeds = {row.manifest_id for row in rows if row.manifest_id is not None}
                await self._plan_families(connection, doomed, repository_id, times, seeds)

    async def _plan_loose(self, connection: AsyncConnection, doomed: _Doomed) -> None:
        after_id = 0
        while rows := await store.page_of_manifests(
            connection, after_id=after_id, limit=self.collector.policy.rows_per_page
        ):
            after_id = rows[-1].id
            loose: dict[int, set[int]] = {}
            for row in rows:
                if row.is_loose and row.id not in doomed.manifests:
                    loose.setdefault(row.repository_id, set()).add(row.id)
            for repository_id, seeds in loose.items():
                times = await self._times(connection, repository_id)
                await self._plan_families(connection, doomed, repository_id, times, seeds)

    async def _plan_families(
        self,
        connection: AsyncConnection,
        doomed: _Doomed,
        repository_id: int,
        times: Times,
        seeds: set[int],
    ) -> None:
        family = await store.load_family(
            connection, repository_id=repository_id, seeds=seeds, times=times
        )
        ids = policy.doomed_nodes(family)
        last: dict[int, str] = {}
        for row in await store_reports.tags_of(connection, manifest_ids=ids):
            end = row.lifetime_end_ms
            if row.manifest_id not in last and end is not None:
                what = "the hold of its push" if row.hidden else f"tag {row.name}"
                last[row.manifest_id] = f"{what} ended {_at_ms(end)}"
        for one in ids:
            doomed.manifests.setdefault(one, last.get(one, "nothing that is kept refers to it"))

    async def _plan_blobs(self, connection: AsyncConnection, doomed: _Doomed) -> list[DoomedBlob]:
        now = self.collector.shelf.clock.now()
        named = await store_reports.blobs_only_in(
            connection, manifest_ids=set(doomed.manifests), now=now
        )
        unnamed: set[int] = set()
        after_id, limit = 0, self.collector.policy.rows_per_page
        while ids := await store_reports.unnamed_blobs(
            connection, after_id=after_id, limit=limit, now=now
        ):
            after_id = ids[-1]
            unnamed |= set(ids)
        rows = await store_reports.describe_blobs(connection, blob_ids=named | unnamed)
        return [
            DoomedBlob(
                digest=row.content_checksum,
                size_bytes=row.image_size or 0,
                quarantined_since=row.since,
                reason="nothing names it" if row.id in unnamed else "goes with its manifests",
            )
            for row in rows
        ]

    async def _times(self, connection: AsyncConnection, repository_id: int) -> Times:
        row = await store.find_repository(connection, repository_id)
        return self.collector.times(0 if row is None else row.window_s)

    async def _explain_manifest(
        self, connection: AsyncConnection, manifest_id: int, *, repository_id: int
    ) -> tuple[bool, list[str]]:
        names = await store_reports.repository_names(connection, repository_ids=[repository_id])
        where = names[repository_id]
        row = await store.find_repository(connection, repository_id)
        if row is None or row.state == RepositoryState.MARKED_FOR_DELETION:
            return False, [f"{where}: the repository was deleted; the manifest goes with it"]
        times = self.collector.times(row.window_s)
        family = await store.load_family(
            connection, repository_id=repository_id, seeds=[manifest_id], times=times
        )
        kept = policy.kept_nodes(family)
        told = [
            *await self._tell_tags(connection, manifest_id, times=times),
            *_tell_relatives(family, manifest_id, kept=kept),
        ]
        if manifest_id not in kept:
            told.append("nothing keeps it; the next collection removes it")
        return manifest_id in kept, [f"{where}: {one}" for one in told]

    async def _tell_tags(
        self, connection: AsyncConnection, manifest_id: int, *, times: Times
    ) -> Iterable[str]:
        window_ms = times.now_ms - times.restorable_after_ms
        told = {}
        for row in await store_reports.tags_of(connection, manifest_ids={manifest_id}):
            end = row.lifetime_end_ms
            if row.hidden and end is None:
                told["held"] = "it was pushed by digest as a referrer, and stays with its subject"
            elif row.hidden and end > times.now_ms:
                told["held"] = f"it was pushed by digest, and is held until {_at_ms(end)}"
            elif not row.hidden and (end is None or end > times.now_ms):
                until = "" if end is None else f" until {_at_ms(end)}"
                told.setdefault(row.name, f"tag {row.name} names it{until}")
            elif not row.hidden and end + window_ms > times.now_ms:
                until = _at_ms(end + window_ms)
                told.setdefault(row.name, f"tag {row.name} can be restored to it until {until}")
        return told.values()

    async def _explain_blob(
        self, connection: AsyncConnection, blob_id: int, *, since: datetime | None
    ) -> tuple[bool, list[str]]:
        now = self.collector.shelf.clock.now()
        named = await store_reports.manifests_naming(connection, blob_id=blob_id, limit=SHOWN)
        holds = await store_reports.holds_of(connection, blob_id=blob_id, now=now)
        ids = [row.repository_id for row in [*named, *holds]]
        names = await store_reports.repository_names(connection, repository_ids=ids)
        reasons = []
        for row in named:
            kept, _ = await self._explain_manifest(
                connection, row.id, repository_id=row.repository_id
            )
            note = "" if kept else ", which the next collection removes"
            reasons.append(f"{names[row.repository_id]}: manifest {row.digest} names it{note}")
        reasons += [
            f"{names[row.repository_id]}: a push or mount holds it until {_at(row.expires_at)}"
            for row in holds
        ]
        if since is not None:
            until = _at(since + self.collector.policy.quarantine)
            reasons.append(f"in quarantine since {_at(since)}; its bytes may go from {until}")
        elif not reasons:
            reasons.append("nothing refers to it; the next sweep quarantines it")
        return bool(named or holds), reasons

    async def _tell_bytes(self, digest: Digest) -> str:
        try:
            found = await self.collector.shelf.blobs.stat(digest)
        except BlobMissing:
            return "the storage has no bytes of it"
        return f"the storage has {found.size} bytes of it"


def _tell_relatives(family: Family, manifest_id: int, *, kept: set[int]) -> Sequence[str]:
    """Return which indexes and referrers that are kept themselves keep a manifest."""
    node = family.nodes[manifest_id]
    indexes = [
        f"index {family.nodes[parent].digest} names it"
        for parent, child in family.children
        if child == manifest_id and parent in kept
    ]
    referrers = [
        f"{other.digest} refers to it as its subject"
        for other in family.nodes.values()
        if other.subject == node.digest and other.id in kept
    ]
    return [*indexes, *referrers]


def _at(moment: datetime) -> str:
    return rfc3339(moment.astimezone(UTC))


def _at_ms(milliseconds: int) -> str:
    return rfc3339(from_milliseconds(milliseconds))
