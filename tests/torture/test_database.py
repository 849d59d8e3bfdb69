"""PostgreSQL stops, crashes and comes back under load; nobody restarts the registry."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
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


def test_an_upload_that_was_begun_survives_a_crash_of_the_database(play) -> None:
    """Its 202 comes after the COMMIT has reached the disk: a client holds the id for days."""
    stage = play()
    client = stage.client()
    begun = client.call("POST", "admin/begun", "/blobs/uploads/")
    assert begun.status == 202, begun
    stop(stage.postgres, signal.SIGQUIT)
    stage.postgres.start()
    upload = f"/blobs/uploads/{begun.headers['docker-upload-uuid']}"
    assert client.get("admin/begun", upload).status == 204


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
