"""Scrubbing finds what is wrong with stored bytes, on files as they lie and on every database."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select
from tests.registry.retention.house import NAMES, START, House, index, open_house

from hatoba.kernel.clock import FixedClock
from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.driver import StorageUnavailable
from hatoba.registry.blobs.filesystem import FilesystemBlobs
from hatoba.registry.content.errors import BlobUnknown, ManifestContentUnknown
from hatoba.registry.db.tables.hatoba import blob_damages, blob_orphans, leases, scrubs
from hatoba.registry.retention.models import Damage, HurtTag, ScrubMode, ScrubPolicy
from hatoba.registry.retention.pace import Pace
from hatoba.registry.retention.scrub import LEASE, Scrubber, ScrubBusy
from hatoba.sql.leases import Leases

pytestmark = pytest.mark.anyio
LAYER = b"layer" * 1000
DIGEST = Digest.of(LAYER)
GRACE = ScrubPolicy().orphan_grace


class FileHouse:
    """A house upon files, with a scrubber."""

    def __init__(self, house: House, blobs: FilesystemBlobs) -> None:
        self.house, self.blobs = house, blobs
        self.found: list = []
        self.slept: list[float] = []

    def scrubber(self, mode=ScrubMode.QUARANTINE, **policy) -> Scrubber:
        shelf = self.house.shelf

        async def sleep(seconds):
            self.slept.append(seconds)

        return Scrubber(
            shelf=shelf,
            leases=Leases(database=shelf.database, table=leases, clock=shelf.clock),
            policy=ScrubPolicy(mode=mode, rows_per_page=2, **policy),
            tell=self.found.append,
            sleep=sleep,
        )

    async def scrub(self, mode=ScrubMode.QUARANTINE, **policy):
        self.found.clear()
        return (await self.scrubber(mode, **policy).run()).counts

    def path(self, digest=DIGEST):
        return self.blobs.blob_path(digest)

    def put_orphan(self, content=b"orphan"):
        path = self.path(Digest.of(content))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def flip(self):
        content = bytearray(self.path().read_bytes())
        content[777] ^= 1
        self.path().write_bytes(bytes(content))

    def truncate(self):
        self.path().write_bytes(LAYER[:-1])

    def lengthen(self):
        self.path().write_bytes(LAYER + b"!")

    def empty(self):
        self.path().write_bytes(b"")

    def remove(self):
        self.path().unlink()

    async def blob(self, name=NAMES[0]):
        return await self.house.holdings.find_blob(name, digest=DIGEST)

    async def rows(self, table):
        async with self.house.shelf.database.read() as connection:
            return (await connection.execute(select(table))).all()


@pytest.fixture
async def files(database, tmp_path):
    blobs = FilesystemBlobs(tmp_path / "blobs")
    opened = FileHouse(await open_house(database, blobs=blobs), blobs)
    await opened.house.push_image("latest", b"{}", LAYER)
    return opened


HARMS = [
    (FileHouse.flip, Damage.CORRUPT),
    (FileHouse.truncate, Damage.CORRUPT),
    (FileHouse.lengthen, Damage.CORRUPT),
    (FileHouse.empty, Damage.CORRUPT),
    (FileHouse.remove, Damage.MISSING),
]


async def test_sound_blobs_are_read_to_their_last_byte(files):
    counts = await files.scrub()
    assert (counts.blobs, counts.bytes, counts.orphans) == (2, len(LAYER) + 2, 0)
    assert files.found == []
    assert (await files.blob()).size == len(LAYER)


@pytest.mark.parametrize(("harm", "kind"), HARMS)
async def test_damage_is_found_with_the_tags_that_it_hurts(files, harm, kind):
    house = files.house
    child = await house.push_image("child", b"{}", LAYER, name=NAMES[1])
    await house.push("multi", index(child), NAMES[1])
    await house.push_image("sound", b"{}", b"other")
    await house.push_image("gone", b"{}", LAYER, b"more")
    await house.delete("gone")
    harm(files)
    await files.scrub()
    (found,) = files.found
    assert (found.digest, found.kind, found.is_withdrawn) == (str(DIGEST), kind, True)
    assert found.manifests == 4
    assert found.tags == [
        HurtTag(repository="someone/app", tag="latest"),
        HurtTag(repository="someone/other", tag="child"),
        HurtTag(repository="someone/other", tag="multi"),
    ]


@pytest.mark.parametrize(("harm", "kind"), HARMS)
async def test_a_report_changes_nothing(files, harm, kind):
    harm(files)
    counts = await files.scrub(ScrubMode.REPORT)
    assert (counts.corrupt + counts.missing, counts.withdrawn) == (1, 0)
    assert (files.found[0].kind, files.found[0].is_withdrawn) == (kind, False)
    assert await files.rows(blob_damages) == []
    assert files.path().exists() is (kind is Damage.CORRUPT)
    assert await files.blob()


@pytest.mark.parametrize(("harm", "kind"), HARMS)
async def test_nobody_is_given_a_damaged_blob(files, harm, kind):
    assert await files.blob()
    harm(files)
    await files.scrub()
    with pytest.raises(BlobUnknown):
        await files.blob()
    with pytest.raises(BlobUnknown):
        await files.house.holdings.mount_blob(NAMES[1], digest=DIGEST, from_repository=NAMES[0])
    assert not files.path().exists()


async def test_a_manifest_that_names_a_damaged_blob_is_refused(files):
    files.flip()
    await files.scrub()
    content = (await files.house.pull("latest")).content
    with pytest.raises(ManifestContentUnknown):
        await files.house.push("again", content)


@pytest.mark.parametrize(("harm", "kind"), HARMS)
async def test_a_push_of_the_digest_heals_it(files, harm, kind):
    harm(files)
    await files.scrub()
    await files.house.push_blob(LAYER, NAMES[1])
    assert (await files.blob()).size == len(LAYER)
    assert files.path().read_bytes() == LAYER
    assert await files.rows(blob_damages) == []
    counts = await files.scrub()
    assert (counts.corrupt, counts.missing, counts.blobs) == (0, 0, 2)


async def test_the_damaged_bytes_are_kept_for_people_to_look_at(files, tmp_path):
    files.truncate()
    await files.scrub()
    kept = tmp_path / "blobs" / "damaged" / "sha256" / DIGEST.hex
    assert kept.read_bytes() == LAYER[:-1]


async def test_what_was_found_before_is_told_again_and_withdrawn_once(files):
    files.flip()
    assert (await files.scrub()).withdrawn == 1
    counts = await files.scrub()
    assert (counts.corrupt, counts.withdrawn) == (1, 0)
    (found,) = await files.scrubber().damaged()
    assert found == files.found[0]


async def test_bytes_that_were_put_back_are_offered_again(files):
    files.remove()
    await files.scrub()
    files.path().write_bytes(LAYER)
    assert (await files.scrub()).healed == 1
    assert await files.blob()
    assert files.found == []


async def test_wrong_bytes_that_were_put_back_are_set_aside(files):
    files.remove()
    await files.scrub()
    files.truncate()
    await files.scrub()
    assert not files.path().exists()


async def test_a_damaged_blob_that_nothing_names_is_collected(files):
    files.flip()
    await files.scrub()
    await files.house.delete("latest")
    files.house.clock.elapsed += timedelta(days=3)
    await files.house.collect_until_nothing_waits()
    assert await files.rows(blob_damages) == []
    assert (await files.scrub()).blobs == 0


# -- bytes that no row names --


async def test_orphans_are_removed_once_they_are_known_for_the_grace(files):
    path = files.put_orphan()
    counts = await files.scrub(ScrubMode.REPAIR)
    assert (counts.orphans, counts.orphan_bytes, counts.orphans_removed) == (1, 6, 0)
    files.house.clock.elapsed += GRACE - timedelta(seconds=1)
    await files.scrub(ScrubMode.REPAIR)
    assert path.exists()
    files.house.clock.elapsed += timedelta(seconds=1)
    assert (await files.scrub(ScrubMode.REPAIR)).orphans_removed == 1
    assert not path.exists()
    assert await files.rows(blob_orphans) == []
    assert files.path().read_bytes() == LAYER


@pytest.mark.parametrize("mode", [ScrubMode.REPORT, ScrubMode.QUARANTINE])
async def test_orphans_are_only_told_unless_repair_was_asked_for(files, mode):
    path = files.put_orphan()
    await files.scrub(mode)
    files.house.clock.elapsed += 2 * GRACE
    assert (await files.scrub(mode)).orphans == 1
    assert path.exists()


async def test_the_grace_begins_anew_for_bytes_that_had_gone(files):
    path = files.put_orphan()
    await files.scrub(ScrubMode.REPAIR)
    path.unlink()
    files.house.clock.elapsed += GRACE
    await files.scrub(ScrubMode.REPAIR)
    files.put_orphan()
    files.house.clock.elapsed += GRACE
    assert (await files.scrub(ScrubMode.REPAIR)).orphans_removed == 0
    assert path.exists()


async def test_an_orphan_that_is_pushed_is_none(files):
    path = files.put_orphan()
    await files.scrub(ScrubMode.REPAIR)
    await files.house.push_blob(b"orphan")
    files.house.clock.elapsed += GRACE
    assert (await files.scrub(ScrubMode.REPAIR)).orphans == 0
    assert path.exists()


async def test_an_orphan_that_is_pushed_while_it_is_removed_stays(files):
    """The page was read before the push; the decision is made again under the lock."""
    path = files.put_orphan()
    stat = await files.blobs.stat(Digest.of(b"orphan"))
    await files.house.push_blob(b"orphan")
    assert not await files.scrubber(ScrubMode.REPAIR)._remove_orphan(stat)
    assert path.exists()


# -- being stopped, and going on --


class Stopped(Exception):
    """The process ends here."""


async def stopped_after(files, blobs):
    """Begin a pass and end it while the next blob after so many is read."""
    scrubber, left = files.scrubber(bytes_per_second=1), blobs

    async def sleep(seconds):
        nonlocal left
        left -= 1
        if left < 0:
            raise Stopped

    scrubber._pace.sleep = sleep
    with pytest.raises(Stopped):
        await scrubber.run()


async def test_a_pass_that_was_stopped_goes_on_where_it_was(files):
    for number in range(6):
        await files.house.push_blob(b"blob %d" % number)
    await stopped_after(files, 5)
    run = await files.scrubber(bytes_per_second=1).run(resumes=True)
    # Pages of two are saved when they are done: of eight blobs four are not read again.
    assert (run.counts.blobs, len(files.slept)) == (8, 4)
    assert len(await files.rows(scrubs)) == 1


async def test_without_resume_a_pass_begins_anew(files):
    await stopped_after(files, 1)
    assert (await files.scrub()).blobs == 2


async def test_damage_is_found_however_often_a_pass_is_stopped(files):
    for number in range(6):
        await files.house.push_blob(b"blob %d" % number)
    files.flip()
    scrubber = files.scrubber()
    run = None
    for stop in range(20):
        counts = iter(range(3 + stop))
        scrubber = files.scrubber(bytes_per_second=1)

        async def sleep(_seconds, counts=counts):
            if next(counts, None) is None:
                raise Stopped

        scrubber._pace.sleep = sleep
        try:
            run = await scrubber.run(resumes=True)
        except Stopped:
            continue
        break
    assert run is not None
    assert str(DIGEST) in {one.digest for one in await files.scrubber().damaged()}


async def test_a_pass_in_the_background_begins_when_it_is_due_and_finishes_first(files):
    await stopped_after(files, 1)
    scrubber = files.scrubber()
    assert (await scrubber.run_due()).finished_at is not None
    assert await scrubber.run_due() is None
    files.house.clock.elapsed += scrubber.policy.interval
    assert await scrubber.run_due() is not None


async def test_one_pass_runs_at_a_time(files):
    scrubber = files.scrubber()
    await scrubber.leases.claim(LEASE, holder="other", lifetime=timedelta(minutes=2))
    with pytest.raises(ScrubBusy):
        await scrubber.run()
    assert await scrubber.run_due() is None
    files.house.clock.elapsed += timedelta(minutes=2)
    await scrubber.run()
    assert await scrubber.leases.holder(LEASE) is None


# -- beside others --


class Interrupted(FilesystemBlobs):
    """Lets something happen after a blob was read once."""

    after_read = None

    def open(self, digest):
        found = super().open(digest)
        if digest == DIGEST and self.after_read is not None:
            happen, self.after_read = self.after_read, None
            return Then(found, happen)
        return found


class Then:
    def __init__(self, inner, happen):
        self.inner, self.happen = inner, happen

    async def __aenter__(self):
        return await self.inner.__aenter__()

    async def __aexit__(self, *raised):
        await self.inner.__aexit__(*raised)
        await self.happen()


@pytest.fixture
async def interrupted(database, tmp_path):
    blobs = Interrupted(tmp_path / "blobs")
    opened = FileHouse(await open_house(database, blobs=blobs), blobs)
    await opened.house.push_image("latest", b"{}", LAYER)
    return opened


async def test_a_blob_that_is_pushed_again_between_two_looks_is_sound(interrupted):
    interrupted.flip()

    async def push():
        await interrupted.house.push_blob(LAYER)

    interrupted.blobs.after_read = push
    counts = await interrupted.scrub()
    assert (counts.corrupt, interrupted.found) == (0, [])
    assert interrupted.path().read_bytes() == LAYER


async def test_a_blob_that_is_collected_between_two_looks_is_no_finding(interrupted):
    interrupted.flip()

    async def collect():
        await interrupted.house.delete("latest")
        interrupted.house.clock.elapsed += timedelta(days=3)
        await interrupted.house.collect_until_nothing_waits()

    interrupted.blobs.after_read = collect
    counts = await interrupted.scrub()
    assert (counts.corrupt, counts.missing, interrupted.found) == (0, 0, [])


async def test_a_blob_that_is_pushed_before_its_bytes_move_is_not_set_aside(files):
    files.flip()
    scrubber = files.scrubber()
    plain = scrubber._set_aside

    async def push_first(digest):
        await files.house.push_blob(LAYER)
        await plain(digest)

    scrubber = Pushing(push_first, scrubber)
    await scrubber.run()
    assert files.path().read_bytes() == LAYER
    assert await files.blob()


class Pushing(Scrubber):
    """Something happens between withdrawing a blob and moving its bytes."""

    def __init__(self, instead, other):
        super().__init__(shelf=other.shelf, leases=other.leases, policy=other.policy)
        self.instead = instead

    async def _set_aside(self, digest):
        await self.instead(digest)


async def test_pushes_of_everything_beside_a_pass_leave_it_all_whole(files):
    contents = [b"content %d" % number for number in range(10)]

    async def push_all():
        for content in contents:
            await files.house.push_blob(content)

    for content in contents[::2]:
        await files.house.push_blob(content)
        files.path(Digest.of(content)).write_bytes(b"wrong")
    await asyncio.gather(push_all(), files.scrubber().run())
    await push_all()
    assert await files.rows(blob_damages) == []
    for content in contents:
        assert files.path(Digest.of(content)).read_bytes() == content


# -- a storage that fails --


class Failing(FilesystemBlobs):
    fails: frozenset = frozenset()

    def open(self, digest):
        if digest in self.fails:
            raise StorageUnavailable("the blob storage fails: Input/output error")
        return super().open(digest)


@pytest.fixture
async def failing(database, tmp_path):
    blobs = Failing(tmp_path / "blobs")
    opened = FileHouse(await open_house(database, blobs=blobs), blobs)
    for number in range(6):
        await opened.house.push_blob(b"blob %d" % number)
    return opened


async def test_a_blob_that_cannot_be_read_is_counted_and_others_go_on(failing):
    failing.blobs.fails = frozenset({Digest.of(b"blob 1")})
    counts = await failing.scrub()
    assert (counts.unreadable, counts.blobs, counts.corrupt) == (1, 5, 0)
    assert await failing.rows(blob_damages) == []


async def test_a_storage_that_is_away_ends_the_pass_and_it_can_be_resumed(failing):
    failing.blobs.fails = frozenset(Digest.of(b"blob %d" % number) for number in range(6))
    with pytest.raises(StorageUnavailable):
        await failing.scrub(failures_in_a_row=3)
    failing.blobs.fails = frozenset()
    run = await failing.scrubber().run(resumes=True)
    assert run.finished_at is not None
    assert await failing.rows(blob_damages) == []


# -- pace --


@pytest.mark.parametrize(("rate", "slept"), [(1000, 5.0), (5000, 1.0), (0, 0.0)])
async def test_a_pass_reads_as_fast_as_it_may(rate, slept):
    clock = FixedClock(START)
    waited: list[float] = []

    async def sleep(seconds):
        waited.append(seconds)
        clock.advance(seconds=seconds)

    pace = Pace(clock=clock, bytes_per_second=rate, sleep=sleep)
    for _ in range(5):
        await pace.spend(1000)
    assert sum(waited) == pytest.approx(slept)


async def test_time_that_was_not_used_is_not_saved_up(files):
    waited: list[float] = []

    async def sleep(seconds):
        waited.append(seconds)

    clock = files.house.clock
    pace = Pace(clock=clock, bytes_per_second=1000, sleep=sleep)
    await pace.spend(1000)
    clock.elapsed += timedelta(hours=1)
    await pace.spend(1000)
    assert waited == [1.0, 1.0]


async def test_a_pass_is_paced(files):
    await files.scrub(bytes_per_second=1000)
    # The clock stands still, so that what is owed adds up.
    assert files.slept[-1] == pytest.approx((len(LAYER) + 2) / 1000)
