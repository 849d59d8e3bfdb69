"""Random histories against a model, the collection being stopped at any statement of it.

Nothing reachable is ever lost, and everything unreachable goes in the end.
"""

import asyncio
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import event, select
from tests.registry.retention.house import CALLER, NAMES, House, image, index, open_house
from tests.registry.retention.model import HOLD_MS, TIME_MACHINE_MS, Content, Repository
from typing_extensions import override

from hatoba.kernel.clock import milliseconds
from hatoba.kernel.digests import Digest
from hatoba.kernel.names import TagName
from hatoba.registry.audit.models import NOBODY
from hatoba.registry.blobs.memory import MemoryBlobs
from hatoba.registry.content.errors import (
    BlobUnknown,
    ManifestContentUnknown,
    ManifestInUse,
    ManifestUnknown,
    TagUnknown,
)
from hatoba.registry.db.migrate import migrate_registry
from hatoba.registry.db.tables.blobs import image_storage_placements, image_storages
from hatoba.registry.db.tables.hatoba import blob_quarantine
from hatoba.registry.db.tables.manifests import manifest_blobs, manifest_children, manifests
from hatoba.registry.retention.models import RetentionPolicy
from hatoba.registry.retention.service import Collector
from hatoba.sql.engine import open_database

# Not a whole number of ticks, as no two moments shall be near.
SHORT_LIVED_MS = 2_702_000
SHORT_LIVED = b'{"config": {"Labels": {"quay.expires-after": "2702s"}}}'
BLOBS = [b"{}", SHORT_LIVED, *(f"layer {number}".encode() for number in range(4))]
# All times are multiples of 4 s and ends lie in between, so that no two moments are near.
TICK = timedelta(seconds=4)
repositories_ = st.integers(0, len(NAMES) - 1)
tags_ = st.sampled_from(["latest", "v1"])
amounts_ = st.sampled_from([{}, {"minutes": 16}, {"minutes": 32}, {"hours": 1}, {"hours": 13}])
layers_ = st.sets(st.sampled_from(BLOBS[2:]), max_size=2)
configs_ = st.sampled_from([BLOBS[0], BLOBS[0], SHORT_LIVED])


class Stopped(Exception):
    """The process ends here."""


class Fuse:
    """Raises at the k-th thing that happens once it was set."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self, *_: object) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            raise Stopped


class FusedBlobs(MemoryBlobs):
    """Stops before or after bytes went."""

    fuse: Fuse

    @override
    async def delete(self, digest):
        self.fuse.burn()
        await super().delete(digest)
        self.fuse.burn()


class Histories(RuleBasedStateMachine):
    contents = Bundle("contents")
    template: Path

    @initialize()
    def open(self):
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        copy = Path(self.directory.name) / "test.db"
        shutil.copy(self.template, copy)
        self.fuse = Fuse()
        blobs = FusedBlobs()
        blobs.fuse = self.fuse
        database = open_database(f"sqlite:///{copy}")
        event.listen(database.engine.sync_engine, "connect", _hurry)
        event.listen(database.engine.sync_engine, "before_cursor_execute", self.fuse.burn)
        event.listen(database.engine.sync_engine, "commit", self.fuse.burn)
        self.house: House = self.run(open_house(database, blobs=blobs, is_new=False))
        self.model = [Repository() for _ in NAMES]
        self.policy = RetentionPolicy(
            tags_per_batch=2, manifests_per_batch=2, repositories_per_page=1, rows_per_page=2
        )
        self.restart()

    def run(self, coroutine):
        return self.runner.run(coroutine)

    def restart(self, **changes):
        """Collect as a process that knows nothing of what was before."""
        self.fuse.left = None
        self.house.shelf.caches.clear()
        policy = RetentionPolicy(tags_per_batch=2, rows_per_page=2, **changes)
        self.house.collector = Collector(shelf=self.house.shelf, policy=policy)

    @override
    def teardown(self):
        if hasattr(self, "house"):
            self.delete({(one, tag) for one in range(len(NAMES)) for tag in ("latest",)})
            self.collect_to_the_end({"days": 2})
            self.run(self.house.shelf.database.close())
            self.runner.close()
            self.directory.cleanup()

    @property
    def now(self) -> int:
        return milliseconds(self.house.clock.now())

    def tick(self):
        self.house.clock.elapsed += TICK

    # -- what people do --

    def push_blob(self, repository, blob):
        self.tick()
        self.run(self.house.push_blob(blob, NAMES[repository]))
        self.model[repository].holds.append((blob, self.now + HOLD_MS))

    @rule(
        target=contents,
        repository=repositories_,
        tag=tags_ | st.none(),
        layers=layers_,
        config=configs_,
        uploads=st.sampled_from([True, True, True, False]),
    )
    def push_image(self, repository, tag, layers, config, uploads):
        return self.push_made(repository, tag, layers, config=config, uploads=uploads)

    @rule(
        target=contents,
        repository=repositories_,
        tag=tags_ | st.none(),
        subject=contents,
        layers=layers_,
    )
    def push_referrer(self, repository, tag, subject, layers):
        return self.push_made(repository, tag, layers, subject=subject)

    @rule(
        target=contents,
        repository=repositories_,
        tag=tags_ | st.none(),
        layers=layers_,
        others=st.lists(contents, max_size=1),
    )
    def push_index(self, repository, tag, layers, others):
        child = self.push_made(repository, None, layers)
        children = {one.digest: one for one in [child, *others]}
        made = index(*(one.content for one in children.values()))
        return self.push(repository, tag, Content(content=made, children=tuple(children)))

    def push_made(self, repository, tag, layers, *, config=BLOBS[0], subject=None, uploads=True):
        blobs = [config, *sorted(layers)]
        content = Content(
            content=image(*blobs, subject=subject and subject.content),
            blobs=frozenset(blobs),
            subject=subject and subject.digest,
            lifetime=SHORT_LIVED_MS if config == SHORT_LIVED else None,
        )
        if uploads:
            for blob in blobs:
                self.push_blob(repository, blob)
        return self.push(repository, tag, content)

    def push(self, repository, tag, content):
        self.tick()
        model = self.model[repository]
        is_sure = content.blobs <= model.held_blobs(self.now) and set(
            content.children
        ) <= model.reachable(self.now)
        reference = Digest.parse(content.digest) if tag is None else tag
        try:
            self.run(self.house.push(reference, content.content, NAMES[repository]))
        except ManifestContentUnknown:
            assert not is_sure
            return multiple()
        model.present[content.digest] = content
        if tag is None:
            model.hold_manifest(content, self.now)
        else:
            end = content.lifetime and self.now + content.lifetime
            model.tag(tag, content.digest, self.now, end=end)
        return content

    @rule(repository=repositories_, tag=tags_, content=contents, restores=st.booleans())
    def point(self, repository, tag, content, restores):
        """Move a tag, or restore what was deleted or overwritten."""
        self.tick()
        model = self.model[repository]
        current = model.alive(tag, self.now)
        try:
            pointing = self.house.point(
                tag, content.content, NAMES[repository], is_reversion=restores
            )
            self.run(pointing)
        except ManifestUnknown:
            assert content.digest not in model.reachable(self.now)
            return
        assert content.digest in model.present
        if restores or current is None or current.digest != content.digest:
            model.tag(tag, content.digest, self.now)

    @rule(tags=st.sets(st.tuples(repositories_, tags_), min_size=1))
    def delete(self, tags):
        for repository, tag in sorted(tags):
            self.tick()
            current = self.model[repository].alive(tag, self.now)
            try:
                self.run(self.house.delete(tag, NAMES[repository]))
            except ManifestUnknown:
                assert current is None
                continue
            current.end = self.now

    @rule(repository=repositories_, content=contents)
    def delete_manifest(self, repository, content):
        self.tick()
        digest = Digest.parse(content.digest)
        deletion = self.house.manifests.delete_manifest(
            NAMES[repository], reference=digest, caller=CALLER
        )
        model = self.model[repository]
        rows = [row for row in model.living(self.now) if row.digest == content.digest]
        is_there = content.digest in model.present
        is_needed = all(row.hidden for row in rows) and model.is_part_of_index(
            content.digest, self.now
        )
        try:
            self.run(deletion)
        except ManifestUnknown:
            assert not (is_there and rows)
            return
        except ManifestInUse:
            assert is_there
            assert is_needed
            return
        assert not is_needed
        for row in rows:
            row.end = self.now

    @rule(
        repository=repositories_,
        tag=tags_,
        minutes=st.sampled_from([1, 90]),
        source=repositories_,
        blob=st.sampled_from(BLOBS),
        what=st.sampled_from(["mount", "push", "expire"]),
    )
    def change(self, repository, tag, minutes, source, blob, what):
        if what == "mount":
            self.mount(source, blob)
        elif what == "push":
            self.push_blob(repository, blob)
        else:
            self.expire(repository, tag, minutes)

    def expire(self, repository, tag, minutes):
        self.tick()
        current = self.model[repository].alive(tag, self.now)
        end = self.now + minutes * 60_000 + 2000
        place = self.run(self.house.place(NAMES[repository]))
        expiry = self.house.tagging.expire(place, tag=TagName(tag), end_ms=end, actor=NOBODY)
        try:
            self.run(expiry)
        except TagUnknown:
            assert current is None
            return
        current.end = end

    def mount(self, source, blob):
        self.tick()
        target = (source + 1) % len(NAMES)
        mounting = self.house.holdings.mount_blob(
            NAMES[target], digest=Digest.of(blob), from_repository=NAMES[source]
        )
        try:
            self.run(mounting)
        except BlobUnknown:
            assert blob not in self.model[source].held_blobs(self.now)
            return
        self.model[target].holds.append((blob, self.now + HOLD_MS))

    @precondition(lambda self: self.model[0].window == TIME_MACHINE_MS)
    @rule()
    def shorten_the_time_machine(self):
        window = TIME_MACHINE_MS // 2
        self.run(self.house.set_time_machine(timedelta(milliseconds=window)))
        for model in self.model:
            model.window = window

    # -- time passes, and the background process runs --

    @rule(amount=amounts_, step=st.sampled_from(["collect", "sweep", "expire_holds"]))
    def work(self, amount, step):
        self.house.clock.elapsed += timedelta(**amount)
        if step == "expire_holds":
            self.run(self.house.holdings.expire_holds())
        else:
            self.run(getattr(self.house.collector, step)())

    @rule(amount=amounts_, steps=st.integers(0, 60), is_sweep=st.booleans())
    def work_until_stopped(self, amount, steps, is_sweep):
        self.house.clock.elapsed += timedelta(**amount)
        collector = self.house.collector
        self.fuse.left = steps
        try:
            self.run(collector.sweep(is_complete=True) if is_sweep else collector.collect())
        except Stopped:
            pass
        finally:
            self.restart()

    @rule(amount=amounts_)
    def collect_to_the_end(self, amount):
        self.house.clock.elapsed += timedelta(**amount)
        expected = [set(model.reachable(self.now)) for model in self.model]
        blobs = {blob for model in self.model for blob in model.held_blobs(self.now)}
        self.restart(quarantine=timedelta())
        self.run(self.house.collector.collect_everything())
        self.restart()
        found = self.run(self.look())
        assert [set(one) for one in found] == expected
        assert self.house.stored == blobs
        assert self.run(self.house.count(image_storages)) == len(blobs)
        assert self.run(self.house.count(image_storage_placements)) == len(blobs)
        assert self.run(self.house.count(blob_quarantine)) == 0

    # -- what must be true at every moment --

    @invariant()
    def nothing_reachable_is_lost(self):
        if not hasattr(self, "house"):
            return
        found = self.run(self.look())
        for repository, model in enumerate(self.model):
            has = found[repository]
            for digest in model.reachable(self.now):
                content = model.present[digest]
                assert digest in has, "a manifest is lost"
                assert has[digest] == {str(Digest.of(blob)) for blob in content.blobs}
            assert model.held_blobs(self.now) <= self.house.stored, "bytes are lost"
            for row in model.rows:
                if model.alive(row.name, self.now) is row:
                    pulled = self.run(self.house.pull(row.name, NAMES[repository]))
                    assert str(pulled.digest) == row.digest
            model.present = {digest: one for digest, one in model.present.items() if digest in has}

    async def look(self) -> list[dict[str, set[str]]]:
        """Return, by repository, the manifests with the blobs that rows say they name."""
        found: list[dict[str, set[str]]] = []
        async with self.house.shelf.database.read() as connection:
            for name in NAMES:
                place = await self.house.place(name)
                rows = await connection.execute(
                    select(manifests.c.digest, image_storages.c.content_checksum)
                    .outerjoin(manifest_blobs, manifest_blobs.c.manifest_id == manifests.c.id)
                    .outerjoin(image_storages, image_storages.c.id == manifest_blobs.c.blob_id)
                    .where(manifests.c.repository_id == place.repository_id)
                )
                has: dict[str, set[str]] = {}
                for digest, blob in rows:
                    has.setdefault(digest, set()).update([blob] if blob else [])
                found.append(has)
            children = await connection.execute(select(manifest_children))
            assert all(row.manifest_id and row.child_manifest_id for row in children)
        return found


def _hurry(connection, _entry) -> None:
    """No test cuts the power."""
    connection.execute("PRAGMA synchronous=OFF")


async def _make_template(path: Path) -> None:
    database = open_database(f"sqlite:///{path}")
    await migrate_registry(database)
    await open_house(database, time_machine=timedelta(milliseconds=TIME_MACHINE_MS))
    await database.close()


@pytest.mark.timeout(400)
def test_nothing_reachable_is_lost_and_the_rest_goes(tmp_path):
    template = tmp_path / "template.db"
    asyncio.run(_make_template(template))
    machine = type("Machine", (Histories,), {"template": template})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=35,
            deadline=None,
            # Add Phase.shrink for a shorter story of a failure; it takes minutes.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
