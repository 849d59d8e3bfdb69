"""PostgreSQL stops, crashes and comes back under load; nobody restarts the registry."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.torture.client import Client
from tests.torture.ledger import digest_of
from tests.torture.pushers import read_everything
from tests.torture.stage import Postgres

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(900)]


def stop(postgres: Postgres, how: signal.Signals) -> None:
    postgres.stop(how)


def crash(postgres: Postgres, _: signal.Signals) -> None:
    """kill -9 one process of the server, upon which it starts anew by itself.

    Returns once it has: PostgreSQL 15 hangs for ever when it is asked to stop during the recovery
    that follows. Until the killed process is reaped, it does not know that anything happened.
    """
    backends = postgres.query(
        "SELECT pid FROM pg_stat_activity WHERE backend_type ~ 'client' AND pid <> pg_backend_pid()"
    )
    victim = backends[0]["pid"]
    os.kill(victim, signal.SIGKILL)
    wait(lambda: not Path(f"/proc/{victim}").exists())
    wait(postgres.answers)


def wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "PostgreSQL does not recover"
        time.sleep(0.02)


def test_what_was_told_of_an_upload_survives_crashes_of_the_database(play) -> None:
    """A client holds the id for days: begun, it is known; finished, it is of no use."""
    stage = play()
    client = stage.client()
    begun = client.call("POST", "admin/begun", "/blobs/uploads/")
    assert begun.status == 202, begun
    crash_and_start(stage.postgres)
    upload = f"/blobs/uploads/{begun.headers['docker-upload-uuid']}"
    assert client.get("admin/begun", upload).status == 204
    path = f"{upload}?digest={digest_of(b'content')}"
    assert put(client, path) == 201
    crash_and_start(stage.postgres)
    assert client.get("admin/begun", upload).status == 404
    assert put(client, path) == 404


def crash_and_start(postgres: Postgres) -> None:
    stop(postgres, signal.SIGQUIT)
    postgres.start()


def put(client: Client, path: str) -> int:
    """Finish the upload, as often as a worker finds that its connections have ended."""
    deadline = time.monotonic() + 60
    while (status := client.call("PUT", "admin/begun", path, body=b"content").status) == 503:
        assert time.monotonic() < deadline, "the registry does not find its database"
    return status


FAULTS = [(stop, signal.SIGINT), (stop, signal.SIGQUIT), (crash, signal.SIGKILL)]


def test_a_database_that_goes_and_comes_back_loses_nothing(play, torture) -> None:
    stage = play()
    [replica] = stage.replicas
    dice, unready = torture.random("pauses"), 0
    with torture.crowd(stage):
        for number in torture.instants(stage, short=4, least=6, shares=2):
            disturb, how = FAULTS[number % len(FAULTS)]
            disturb(stage.postgres, how)
            time.sleep(dice.uniform(0.1, 1.0))
            if disturb is stop:
                unready += not replica.is_ready()
                stage.postgres.start()
            replica.wait_until_ready()
    read_everything(stage.client())
    print(dict(stage.ledger.counts))
    assert unready > 0, "a registry without a database called itself ready"
    assert stage.ledger.counts["status 503"] > 0, "no request was disturbed"
    assert stage.ledger.counts["connections broken"] == 0
    stage.verdict()
    stage.expire_uploads()
