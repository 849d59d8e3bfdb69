"""What a pull may ask the database: nothing by a digest that is known, one question by a tag."""

import asyncio
import dataclasses
import json
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import delete, event, text
from tests.registry.conftest import only_postgresql
from tests.registry.content.conftest import NAME, Room

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import RepositoryName, TagName
from hatoba.oci import media_types
from hatoba.registry.access import store as access_store
from hatoba.registry.audit.models import NOBODY
from hatoba.registry.content.catalog import Catalog, Reach
from hatoba.registry.content.errors import RepositoryUnknown
from hatoba.registry.content.ledger_prepared import open_ledger
from hatoba.registry.content.listings import Listings
from hatoba.registry.content.manifests import Manifests
from hatoba.registry.content.resolver import ONE, SEVERAL, PreparedTagResolver
from hatoba.registry.db.tables.tags import tags
from hatoba.sql.engine import DatabaseUnavailable
from hatoba.sql.prepared import BY_INDEX, open_questions

pytestmark = pytest.mark.anyio


class Asked(list[str]):
    """The statements that reached the database, by SQLAlchemy or by asyncpg."""

    def by_sqlalchemy(self, _connection, _cursor, statement, *_: object) -> None:
        self.append(statement)

    def by_asyncpg(self, record) -> None:
        self.append(record.query)


@asynccontextmanager
async def asking(room: Room, asked: Asked):
    """Give a room whose tags are resolved as in production, and write down what is asked."""
    database = room.shelf.database
    event.listen(database.engine.sync_engine, "before_cursor_execute", asked.by_sqlalchemy)
    if not database.is_postgresql:
        yield room
        return
    async with open_questions(database, connections=1) as questions:
        async with questions.lend() as connection:
            connection.add_query_logger(asked.by_asyncpg)
        shelf = dataclasses.replace(room.shelf, questions=questions)
        resolver = PreparedTagResolver(questions=questions, clock=room.clock)
        yield dataclasses.replace(
            room,
            shelf=shelf,
            manifests=Manifests(shelf=shelf, resolver=resolver),
            listings=Listings(shelf=shelf),
        )


async def test_a_known_digest_asks_nothing(room) -> None:
    asked = Asked()
    async with asking(room, asked) as watched:
        content = await watched.image()
        await watched.push("v1", content)
        await watched.pull(Digest.of(content))
        asked.clear()
        await watched.pull(Digest.of(content))
    assert asked == []


async def test_a_known_blob_asks_nothing(room) -> None:
    asked = Asked()
    async with asking(room, asked) as watched:
        digest = await watched.push_blob(b"bytes")
        await watched.holdings.find_blob(NAME, digest=digest)
        asked.clear()
        record = await watched.holdings.find_blob(NAME, digest=digest)
        async with watched.holdings.open_blob(record):
            pass
    assert asked == []


async def test_a_tag_asks_one_question(room) -> None:
    asked = Asked()
    async with asking(room, asked) as watched:
        await watched.push("v1", await watched.image())
        await watched.pull("v1")
        asked.clear()
        await watched.pull("v1")
    assert len(asked) == 1


async def test_a_page_of_tags_asks_one_question_and_is_the_same_everywhere(room) -> None:
    asked = Asked()
    async with asking(room, asked) as watched:
        content = await watched.image()
        for number in range(5):
            await watched.push(f"v{number}", content)
        await watched.push(Digest.of(content), content)
        # The first question of a connection also learns of the types of its answer.
        await watched.listings.list_tags(NAME, after="v0", limit=3)
        asked.clear()
        page = await watched.listings.list_tags(NAME, after="v0", limit=3)
        questions = len(asked)
        last = await watched.listings.list_tags(NAME, after="v3", limit=3)
        none = await watched.listings.list_tags(NAME, after=None, limit=0)
        with pytest.raises(RepositoryUnknown):
            await watched.listings.list_tags(
                RepositoryName.parse("someone/other"), after=None, limit=3
            )
    assert (page.items, page.has_more) == (["v1", "v2", "v3"], True)
    assert (last.items, last.has_more) == (["v4"], False)
    assert (list(none.items), none.has_more) == ([], False)
    assert questions == (1 if room.shelf.database.is_postgresql else 2)


@pytest.mark.parametrize("shows_public", [True, False])
async def test_the_catalog_is_the_same_by_either_way_of_asking(room, shows_public) -> None:
    accounts = await fill_catalog(room)

    async def reach(account_id: int) -> Reach:
        async with room.shelf.database.read() as connection:
            found = await access_store.reach_of(connection, account_id=account_id)
        return Reach(namespaces=found.administered, repositories=found.repositories)

    async with asking(room, Asked()) as watched:
        ways = [
            Catalog(shelf=shelf, reach=reach, shows_public=shows_public)
            for shelf in (room.shelf, watched.shelf)
        ]
        for account_id in (None, *accounts):
            seen = [await read_catalog(way, account_id) for way in ways]
            assert seen[0] == seen[1] == sorted(seen[0], key=lambda name: name.split("/"))
            if account_id is None:
                assert seen[0] == (["public/shown"] if shows_public else [])


async def read_catalog(catalog: Catalog, account_id: int | None) -> list[str]:
    """Read it by pages of two."""
    names: list[str] = []
    after = None
    while True:
        page = await catalog.list_repositories(account_id=account_id, after=after, limit=2)
        names += page.items
        if not page.has_more:
            return names
        after = page.items[-1]


async def fill_catalog(room: Room) -> list[int]:
    """Make repositories that are seen for every reason; return accounts that see different ones."""
    rooms = room.rooms
    people = {
        name: await rooms.users.create(
            username=name, password=None, email=f"{name}@example.com", actor=NOBODY
        )
        for name in ("public", "reader", "owner")
    }
    group = await rooms.organizations.create(
        name="group", email=None, owner=people["owner"], actor=NOBODY
    )
    made = {}
    for namespace, name, is_public in (
        (people["public"], "shown", True),
        (people["public"], "hidden", False),
        (people["reader"], "own", False),
        (group, "a", False),
        (group, "b", False),
        (group, "b-c", False),
    ):
        made[name] = await rooms.repositories.create(
            namespace=namespace,
            name=name,
            is_public=is_public,
            description=None,
            creator=people["owner"],
            actor=NOBODY,
        )
    await rooms.permissions.set_user(made["hidden"], username="reader", role="read", actor=NOBODY)
    return [account.id for account in people.values()]


MOVED_OFTEN = """
INSERT INTO tag (name, repository_id, manifest_id, lifetime_start_ms, lifetime_end_ms, hidden,
                 reversion, tag_kind_id)
SELECT 'v' || moment % 20, 1 + moment % 3, 1, moment, moment + 60, false, false, 1
  FROM generate_series(1, 3000) AS moment
"""


# SQLite resolves tags one by one.
@pytest.fixture
async def resolver(room):
    opening = open_questions(room.shelf.database, connections=1, preparation=BY_INDEX)
    async with opening as questions:
        yield PreparedTagResolver(questions=questions, clock=room.clock)


@only_postgresql
@pytest.mark.parametrize(
    ("statement", "types", "values"),
    [
        (ONE, "text, text, text, bigint", "'someone', 'app', 'v1', 0"),
        (SEVERAL, "text[], text[], text[], bigint", "'{someone}', '{app}', '{v1}', 0"),
    ],
)
async def test_of_a_tag_that_moved_often_only_the_end_of_an_index_is_read(
    resolver, statement, types, values
) -> None:
    async with resolver.questions.lend() as connection:
        # A plan follows from what is known of the table: here a long history, in every run.
        trial = connection.transaction()
        await trial.start()
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(MOVED_OFTEN)
        await connection.execute("ANALYZE tag")
        await connection.execute(f"PREPARE question ({types}) AS {statement}")
        plan = str(await connection.fetch(f"EXPLAIN EXECUTE question ({values})"))
        await trial.rollback()
    assert "Index Scan Backward using tag_repository_id_name_lifetime_end_ms" in plan
    assert "Seq Scan" not in plan
    assert "Sort" not in plan


@only_postgresql
async def test_a_tag_that_moved_often_names_what_was_pushed_last(room, resolver) -> None:
    contents = [await room.image(annotations={"n": str(number)}) for number in range(3)]
    for content in contents:
        room.clock.advance(seconds=1)
        await room.push("v1", content)
    both = await asyncio.gather(*(resolver.resolve(NAME, TagName("v1")) for _ in range(2)))
    assert [found.digest for found in both] == [Digest.of(contents[-1])] * 2


@only_postgresql
async def test_tags_that_wait_together_are_asked_for_together(room, resolver) -> None:
    contents = [await room.image(annotations={"n": str(n)}) for n in range(3)]
    for number, content in enumerate(contents):
        await room.push(f"v{number}", content)
    asked = Asked()
    async with resolver.questions.lend() as connection:
        connection.add_query_logger(asked.by_asyncpg)
    wanted = [TagName(f"v{n % 3}") for n in range(30)]
    missing = [resolver.resolve(NAME, TagName("none"))]
    missing += [resolver.resolve(RepositoryName.parse("someone/other"), TagName("v1"))]
    found = await asyncio.gather(*(resolver.resolve(NAME, tag) for tag in wanted), *missing)
    assert [one.digest for one in found[:30]] == [Digest.of(contents[n % 3]) for n in range(30)]
    assert found[30:] == [None, None]
    # The first one found the connection free; all others waited.
    assert len(asked) == 2


@only_postgresql
async def test_who_comes_while_a_question_is_under_way_asks_anew(room, resolver) -> None:
    await room.push("v1", await room.image())
    asked = Asked()
    async with resolver.questions.lend() as connection:
        connection.add_query_logger(asked.by_asyncpg)
    async with room.shelf.database.begin() as transaction:
        await transaction.execute(text("LOCK TABLE tag"))
        early = asyncio.create_task(resolver.resolve(NAME, TagName("v1")))
        await asyncio.sleep(0.2)
        late = asyncio.create_task(resolver.resolve(NAME, TagName("v1")))
        await asyncio.sleep(0.2)
        await transaction.execute(delete(tags))
    assert [await early, await late] == [None, None]
    assert len(asked) == 2


@only_postgresql
async def test_who_leaves_takes_nobody_along(room, resolver) -> None:
    content = await room.image()
    await room.push("v1", content)
    leaving, staying = (
        asyncio.create_task(resolver.resolve(NAME, TagName("v1"))) for _ in range(2)
    )
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).digest == Digest.of(content)


@only_postgresql
async def test_a_lost_connection_is_said_and_replaced(room, resolver) -> None:
    await room.push("v1", await room.image())
    async with resolver.questions.lend() as connection:
        connection.terminate()
    answers = [await _outcome(resolver) for _ in range(2)]
    assert answers[-1] == "found"
    assert set(answers) <= {"found", "unavailable"}


async def _outcome(resolver: PreparedTagResolver) -> str:
    try:
        await resolver.resolve(NAME, TagName("v1"))
    except DatabaseUnavailable:
        return "unavailable"
    return "found"


MANY = 5000
MANY_NAME_ONE = f"""
INSERT INTO manifestblob (repository_id, manifest_id, blob_id)
SELECT repository_id, 100000 + number, blob_id
  FROM manifestblob, generate_series(1, {MANY}) AS number
"""
READ = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'manifestblob'"


@asynccontextmanager
async def pushing(room: Room):
    """Give a room that pushes as in production; its session has ended, and told what it read."""
    shelf = room.shelf
    async with (
        open_ledger(shelf.database, audit=shelf.audit, location="default", connections=1) as ledger,
        open_questions(shelf.database, connections=1, preparation=BY_INDEX) as questions,
    ):
        resolver = PreparedTagResolver(questions=questions, clock=room.clock)
        shelf = dataclasses.replace(shelf, ledger=ledger)
        manifests = Manifests(shelf=shelf, resolver=resolver)
        uploads = dataclasses.replace(room.uploads, shelf=shelf)
        yield dataclasses.replace(room, shelf=shelf, manifests=manifests, uploads=uploads)


@only_postgresql
async def test_a_new_layer_is_not_looked_for_among_all_others(room) -> None:
    await room.push("v1", await room.image())
    async with room.shelf.database.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text(MANY_NAME_ONE))
        await connection.execute(text("ANALYZE manifestblob, imagestorage"))
    async with pushing(room) as watched:
        for number in range(3):
            await watched.push("v2", await room.image(labels={"n": str(number)}))
    async with room.shelf.database.read() as connection:
        assert (await connection.execute(text(READ))).scalar_one() < MANY


GROWN = f"""
INSERT INTO repository (namespace_user_id, name, visibility_id, description, badge_token, kind_id,
                        trust_enabled, state)
SELECT namespace_user_id, name || number, visibility_id, '', number, kind_id, false, 0
  FROM repository, generate_series(1, {MANY}) AS number;
INSERT INTO manifest (repository_id, digest, media_type_id, manifest_bytes)
SELECT repository_id, 'sha256:' || number, media_type_id, ''
  FROM (SELECT * FROM manifest LIMIT 1) AS one, generate_series(1, {MANY}) AS number;
INSERT INTO tag (name, repository_id, manifest_id, lifetime_start_ms, hidden, reversion,
                 tag_kind_id, immutable)
SELECT 'u' || number, repository_id, manifest_id, 1, false, false, tag_kind_id, false
  FROM (SELECT * FROM tag WHERE name = 'v1' LIMIT 1) AS one,
       generate_series(1, {MANY}) AS number;
INSERT INTO imagestorage (uuid, image_size, uploading, cas_path, content_checksum)
SELECT 'other' || number, 1, false, true, 'sha256:' || number
  FROM generate_series(1, {MANY}) AS number;
INSERT INTO uploadedblob (repository_id, blob_id, uploaded_at, expires_at)
SELECT repository_id, blob_id + 1000000, uploaded_at, expires_at + interval '1 year'
  FROM (SELECT * FROM uploadedblob LIMIT 1) AS one, generate_series(1, {MANY}) AS number;
INSERT INTO blobupload (repository_id, uuid, location_id, byte_count, chunk_count, created)
SELECT repository_id, 'other' || number, location_id, 0, 0, uploaded_at
  FROM (SELECT * FROM uploadedblob LIMIT 1) AS one,
       (SELECT id AS location_id FROM imagestoragelocation LIMIT 1) AS place,
       generate_series(1, {MANY}) AS number;
"""
ENTRIES_READ = """
SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)
     + (SELECT sum(seq_tup_read) FROM pg_stat_user_tables)
"""
ENTRIES_OF_ALL = 1000


@only_postgresql
async def test_a_plan_for_empty_tables_still_does_once_they_are_large(room) -> None:
    other = await room.image(annotations={"n": "other"})

    async def work(watched: Room, tag: str) -> None:
        """Push a layer, a new tag, a tag that was there, an index; resolve a tag."""
        await watched.push_blob(tag.encode())
        content = await room.image(annotations={"n": tag})
        for pushed in (content, other, content):
            await watched.push(tag, pushed)
        await watched.push("index", index_of(content, other, other), kind=media_types.OCI_INDEX)
        assert await watched.manifests.resolver.resolve(NAME, TagName(tag)) is not None

    async with pushing(room) as watched:
        # The plans are made now, and kept.
        await work(watched, "v1")
        async with room.shelf.database.begin() as connection:
            await connection.execute(text("SET LOCAL session_replication_role = replica"))
            for statement in GROWN.split(";"):
                if statement.strip():
                    await connection.execute(text(statement))
        before = await entries_read(room)
        await work(watched, "w1")
    assert await entries_read(room) - before < ENTRIES_OF_ALL


def index_of(*children: bytes) -> bytes:
    described = [
        {
            "mediaType": media_types.OCI_MANIFEST,
            "digest": str(Digest.of(child)),
            "size": len(child),
        }
        for child in children
    ]
    return json.dumps({"schemaVersion": 2, "manifests": described}).encode()


async def entries_read(room: Room) -> int:
    """Return how many entries of indexes, and rows of whole tables, all sessions have read."""
    async with room.shelf.database.read() as connection:
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
    async with room.shelf.database.read() as connection:
        return int((await connection.execute(text(ENTRIES_READ))).scalar_one())
