"""Each revision is what it was when it was made: old databases can be had, and are brought on."""

import pytest
from sqlalchemy import select, text
from tests.registry.conftest import only_postgresql
from tests.registry.db.shapes import rows_of, shape_of, subtractions

from hatoba.registry.db.migrate import REVISIONS, known_revisions, migrate_registry
from hatoba.registry.db.tables import METADATA
from hatoba.registry.db.tables.contents import LABEL_SOURCES, LOOKUPS
from hatoba.sql.engine import open_database
from hatoba.sql.migrations import UnknownRevision, floors_in, kinds_in
from hatoba.sql.revisions import applied_revision

pytestmark = pytest.mark.anyio

EARLIER = known_revisions()[:-1]
HEAD = known_revisions()[-1]
SINCE = {
    "hatoba_blob_quarantine": "0002",
    "hatoba_blob_damage": "0003",
    "hatoba_blob_orphan": "0003",
    "hatoba_scrub": "0003",
    "hatoba_upload_claim": "0004",
}
"""When tables came that 0001 did not have."""
FILLED = (
    (
        'INSERT INTO "user" (id, uuid, username, email, verified, organization, robot,'
        " invoice_email, invalid_login_attempts, last_invalid_login, removed_tag_expiration_s,"
        " enabled) VALUES (7, 'u', 'ann', 'ann@example.com', true, false, false, false, 0,"
        " '2026-01-02 03:04:05', 60, true)"
    ),
    (
        "INSERT INTO repository (id, namespace_user_id, name, visibility_id, badge_token, kind_id,"
        " trust_enabled, state) VALUES (9, 7, 'app', 1, 'b', 1, false, 0)"
    ),
    (
        "INSERT INTO imagestorage (id, uuid, uploading, cas_path, content_checksum, image_size)"
        " VALUES (11, 's', false, true, 'sha256:ab', 5)"
    ),
    "INSERT INTO hatoba_lease (name, holder, expires_at_ms) VALUES ('gc', 'x', 1)",
)


@pytest.fixture
def second_database(request, tmp_path, empty_database):
    """Another empty database of the same kind."""
    if not empty_database.is_postgresql:
        return open_database(f"sqlite:///{tmp_path}/second.db")
    return open_database(request.getfixturevalue("fresh_url"))


@pytest.fixture
async def declared(second_database):
    """A database with what the tables of this version declare, made without revisions."""
    async with second_database.begin() as connection:
        if second_database.is_postgresql:
            await connection.execute(text("CREATE EXTENSION pg_trgm"))
        await connection.run_sync(METADATA.create_all)
    yield second_database
    await second_database.close()


async def test_all_revisions_together_make_what_the_tables_declare(empty_database, declared):
    await migrate_registry(empty_database)
    made = await shape_of(empty_database)
    assert made == await shape_of(declared)
    assert len(made) == len(METADATA.tables)
    async with empty_database.read() as connection:
        for name, expected in LOOKUPS.items():
            table = METADATA.tables[name]
            rows = await connection.execute(select(table.c.name).order_by(table.c.id))
            assert tuple(rows.scalars()) == expected
        sources = METADATA.tables["labelsourcetype"].c
        rows = await connection.execute(select(sources.name, sources.mutable))
        assert {row[0]: row[1] for row in rows} == LABEL_SOURCES


@pytest.mark.parametrize("revision", EARLIER)
async def test_an_earlier_revision_has_the_tables_of_its_time(empty_database, revision):
    assert await migrate_registry(empty_database, target=revision) == revision
    assert await applied_revision(empty_database) == revision
    expected = {name for name in METADATA.tables if SINCE.get(name, "0001") <= revision}
    assert set(await shape_of(empty_database)) == expected


@pytest.mark.parametrize("revision", EARLIER)
async def test_a_database_of_an_earlier_revision_is_brought_on_with_its_rows(
    empty_database, declared, revision
):
    await migrate_registry(empty_database, target=revision)
    filling = list(FILLED)
    if revision >= SINCE["hatoba_blob_quarantine"]:
        filling.append(
            "INSERT INTO hatoba_blob_quarantine (id, storage_id, since)"
            " VALUES (3, 11, '2026-01-02 03:04:05')"
        )
    async with empty_database.begin() as connection:
        for statement in filling:
            await connection.execute(text(statement))
    tables = list(await shape_of(empty_database))
    before = await rows_of(empty_database, tables)
    assert await migrate_registry(empty_database) == HEAD
    assert await rows_of(empty_database, tables) == before
    assert len(before["user"]) == 1
    assert await shape_of(empty_database) == await shape_of(declared)


async def test_migrating_to_where_it_is_or_was_before_changes_nothing(empty_database):
    await migrate_registry(empty_database, target=EARLIER[-1])
    before = await shape_of(empty_database)
    assert await migrate_registry(empty_database, target=EARLIER[0]) == EARLIER[-1]
    assert await migrate_registry(empty_database, target=EARLIER[-1]) == EARLIER[-1]
    assert await shape_of(empty_database) == before


async def test_what_a_later_version_made_is_left_alone(empty_database):
    await migrate_registry(empty_database)
    async with empty_database.begin() as connection:
        await connection.execute(text("UPDATE hatoba_alembic_version SET version_num = '9999'"))
    with pytest.raises(UnknownRevision, match="at revision 9999"):
        await migrate_registry(empty_database)
    assert await applied_revision(empty_database) == "9999"


def test_each_revision_says_whether_it_expands_or_contracts():
    kinds = kinds_in(REVISIONS)
    assert tuple(sorted(kinds)) == known_revisions()
    assert set(kinds.values()) <= {"expand", "contract"}
    assert all(len(revision) == 4 and revision.isdigit() for revision in kinds)
    contracts = [name for name, kind in kinds.items() if kind == "contract"]
    assert set(floors_in(REVISIONS)) == set(contracts)
    assert all(floor < name for name, floor in floors_in(REVISIONS).items())


@pytest.mark.parametrize(
    "revision", [name for name, kind in kinds_in(REVISIONS).items() if kind == "expand"]
)
async def test_an_expand_revision_only_adds(empty_database, revision):
    position = known_revisions().index(revision)
    before = {}
    if position:
        await migrate_registry(empty_database, target=known_revisions()[position - 1])
        before = await shape_of(empty_database)
    await migrate_registry(empty_database, target=revision)
    assert subtractions(before, await shape_of(empty_database)) == []


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("DROP TABLE hatoba_lease", "table hatoba_lease is gone"),
        ("ALTER TABLE queueitem DROP COLUMN body", "columns of queueitem: body is not"),
        ("ALTER TABLE queueitem RENAME COLUMN body TO text", "body is not what it was"),
        ("DROP INDEX queueitem_queue_name", "queueitem_queue_name is not what it was"),
        ("CREATE UNIQUE INDEX late ON queueitem (body)", "indexes of queueitem: late is new"),
        ("CREATE INDEX late ON queueitem (body)", "indexes of queueitem: late is new"),
    ],
)
async def test_what_is_no_expansion_is_found(database, statement, finding):
    before = await shape_of(database)
    async with database.begin() as connection:
        await connection.execute(text(statement))
    assert any(finding in found for found in subtractions(before, await shape_of(database)))


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("ALTER TABLE queueitem ALTER body TYPE varchar(10)", "body is not what it was"),
        ("ALTER TABLE queueitem ALTER processing_expires SET NOT NULL", "is not what it was"),
        ("ALTER TABLE queueitem ALTER state_id DROP DEFAULT", "state_id is not what it was"),
        ("ALTER TABLE queueitem ADD CHECK (retries_remaining > 0)", "is new to writers"),
        ("ALTER TABLE queueitem ADD late integer NOT NULL", "late is new to writers"),
    ],
)
@only_postgresql
async def test_what_is_no_expansion_of_postgresql_is_found(database, statement, finding):
    before = await shape_of(database)
    async with database.begin() as connection:
        await connection.execute(text(statement))
    assert any(finding in one for one in subtractions(before, await shape_of(database)))


async def test_new_columns_that_writers_need_not_know_are_an_expansion(database):
    before = await shape_of(database)
    async with database.begin() as connection:
        await connection.execute(text("ALTER TABLE queueitem ADD note text"))
        await connection.execute(text("ALTER TABLE queueitem ADD weight integer DEFAULT 1"))
    assert subtractions(before, await shape_of(database)) == []


async def test_two_tables_of_before_in_one_revision_are_no_expansion(database):
    before = await shape_of(database)
    async with database.begin() as connection:
        await connection.execute(text("ALTER TABLE tag ADD note text"))
        await connection.execute(text("ALTER TABLE manifest ADD note text"))
    found = subtractions(before, await shape_of(database))
    assert found == ["manifest, tag are changed in one transaction"]
