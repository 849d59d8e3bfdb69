"""A registry before its database was migrated: it listens, says what it waits for, and serves then."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from tests import bytecode
from tests.torture.client import Broken, Client
from tests.torture.stage import make_replica, write_configuration

from hatoba.registry.db.migrate import known_revisions, migrate_registry
from hatoba.registry.db.standing import HEAD
from hatoba.sql.engine import open_database

BEFORE = known_revisions()[-2]
REASON = (
    f"the database is at revision {BEFORE} and this version needs {HEAD}: "
    "run `hatoba registry migrate`"
)
METRICS_PORT = 9091


def bring_to(uri: str, revision: str) -> None:
    async def migrate():
        database = open_database(uri)
        await migrate_registry(database, target=revision)
        await database.close()

    asyncio.run(migrate())


@pytest.fixture
def behind(tmp_path):
    """A registry, not started, whose database lacks the last revision; its database's address."""
    uri = f"sqlite:///{tmp_path}/registry.db"
    bring_to(uri, BEFORE)
    replica = make_replica(tmp_path, 0)
    write_configuration(tmp_path, SimpleNamespace(url=uri), hostname=f"localhost:{replica.port}")
    yield replica, uri
    if replica.process is not None:
        replica.stop()


def ask(path: str, *, port: int, host: str = "127.0.0.1", process, patience: float = 60.0):
    """Return the first answer to a request."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return Client(port=port, host=host, user="", password="").send("GET", path)
        except Broken:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_it_says_what_it_waits_for_and_serves_once_the_database_is_migrated(behind):
    replica, uri = behind
    replica.launch()
    health = ask("/health/instance", port=replica.port, process=replica.process)
    assert health.status == 503
    told = json.loads(health.body)
    assert told["message"] == REASON
    assert told["data"]["services"] == {"database": False}
    pull = ask("/v2/", port=replica.port, process=replica.process)
    assert (pull.status, pull.headers["retry-after"]) == (503, "5")
    assert json.loads(pull.body)["errors"][0] == {"code": "UNAVAILABLE", "message": REASON}
    assert ask("/healthz", port=replica.port, process=replica.process).status == 200
    bring_to(uri, HEAD)
    replica.wait_until_ready()
    assert ask("/healthz", port=replica.port, process=replica.process).status == 200


@pytest.mark.parametrize("command", [("serve",), ("worker", "mirror")])
def test_who_waits_ends_when_told_to(behind, command):
    replica, _ = behind
    process = subprocess.Popen(
        [sys.executable, "-m", "hatoba.cli.main", "registry", command[0],
         "--config", str(replica.directory), *command[1:],
         *(("--listen", f"127.0.0.1:{replica.port}") if command == ("serve",) else ())],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=bytecode.environment(HATOBA_BIND=replica.bind, HATOBA_DATA=str(replica.directory)),
    )  # fmt: skip
    try:
        there = {"port": METRICS_PORT, "host": replica.bind, "process": process}
        assert ask("/readyz", **there).status == 503
        assert ask("/healthz", **there).status == 200
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert REASON in output.decode()
