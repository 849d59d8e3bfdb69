import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.recorded.quay.replay import Replay
from tests.recorded.quay.verdicts import PURPOSES, UNSENT

from hatoba.registry.db.migrate import migrate_registry
from hatoba.sql.engine import open_database

pytestmark = [pytest.mark.anyio, pytest.mark.recorded, pytest.mark.postgres]
RATCHET = Path(__file__).with_name("ratchet.json")


@pytest.mark.timeout(600)
async def test_no_more_answers_differ_from_quay_than_are_known(recorded_database, tmp_path):
    database = open_database(recorded_database)
    await migrate_registry(database)
    await database.close()
    replay = Replay(uri=recorded_database, storage=tmp_path)
    async with AsyncExitStack() as stack:
        outcome = await replay.run(stack)
    print(outcome.table())
    for reason, count in outcome.purposes.most_common():
        print(f"on purpose {count:4}: {reason}")
    for line in outcome.wrong:
        print("wrong", line)
    known = json.loads(RATCHET.read_text())
    wrong = {area: counter["wrong"] for area, counter in outcome.counts.items()}
    worse = {area: count for area, count in wrong.items() if count > known.get(area, 0)}
    assert not worse
    reasons = {row[3] for row in PURPOSES} | set(UNSENT.values())
    assert reasons == set(outcome.purposes), "a row of the table matches nothing any more"
