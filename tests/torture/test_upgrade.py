"""An upgrade under continuous pushes and pulls: no request fails, whatever dies meanwhile.

The version of before is the code as it is; the one after it has three more revisions
(`next_version`). Clients are sent to those that are ready, as a Service does it.
"""

import json
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests import bytecode
from tests.torture import next_version
from tests.torture.client import Answer, Broken, Client
from tests.torture.pushers import Crowd, Pusher, read_everything
from tests.torture.stage import Replica, Stage, make_replica, running_postgres, staged

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
VERSION_OF_BEFORE, NEXT_VERSION = "hatoba.cli.main", "tests.torture.next_version"
DRAIN_SECONDS = 10
"""For a client that chose a registry just before it was told to end, on a machine that is busy."""
CONNECTIONS = 400
"""While pods are replaced there are more of them than before: five registries here."""
PUSHERS = 3
ANSWERS = 60
"""How many answers are proof that the work goes on."""
PATIENCE = 90


@dataclass(kw_only=True)
class Service:
    """The registries that requests are sent to, and each request that did not succeed."""

    ready: tuple[Replica, ...]
    """Replaced as a whole: clients choose while it changes."""
    failures: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class ServiceClient(Client):
    """A client of a Service: each request goes to one of those that are ready."""

    served_by: Service

    def send(self, method: str, path: str, *, body=None, headers=None) -> Answer:
        self.port = random.choice(self.served_by.ready).port
        try:
            answer = super().send(method, path, body=body, headers=headers)
        except Broken as error:
            self.served_by.failures.append(str(error))
            raise
        if answer.status >= 400 and not self.is_expected(method, path, answer.status):
            self.served_by.failures.append(f"{method} {path}: {answer.status} {answer.body!r}")
        return answer

    @staticmethod
    def is_expected(method: str, path: str, status: int) -> bool:
        """A tag that nobody pushed yet is not there, and a token runs out.

        The ledger holds a tag that is missing against what it knows.
        """
        if status == 404:
            return method in {"GET", "DELETE"} and "/manifests/" in path
        return status == 401 and not path.startswith("/v2/auth")

    def call(self, method: str, repository: str, path: str, *, body=None, **headers) -> Answer:
        answer = super().call(method, repository, path, body=body, **headers)
        if answer.status == 401:
            self.served_by.failures.append(f"{method} {path}: 401 with a new token")
        return answer


def until(condition, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@dataclass(kw_only=True)
class Upgrade:
    """A stage with registries of two versions upon it."""

    stage: Stage
    service: Service
    environment: dict[str, str]

    @contextmanager
    def crowd(self):
        clients = [
            ServiceClient(
                port=0,
                user="admin",
                password="password1",
                service=f"localhost:{self.stage.replicas[0].port}",
                ledger=self.stage.ledger,
                served_by=self.service,
            )
            for _ in range(PUSHERS)
        ]
        pushers = [
            Pusher(
                client=client,
                repository=f"admin/upgrade-{number}",
                random=random.Random(number),
                largest=60_000,
            )
            for number, client in enumerate(clients)
        ]
        with Crowd(pushers=pushers):
            yield

    def work_goes_on(self) -> None:
        goal = self.stage.ledger.answers() + ANSWERS
        until(lambda: self.stage.ledger.answers() >= goal, "no answers any more")
        assert self.service.failures == []

    def migrate(self) -> subprocess.Popen[bytes]:
        """Start what the upgrade Job runs."""
        words = ["registry", "migrate", "--config", str(self.stage.directory)]
        return subprocess.Popen(
            [sys.executable, "-m", NEXT_VERSION, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=bytecode.environment(**self.environment),
        )

    def add(self, *, module: str) -> Replica:
        """Start a registry, ready or not."""
        replica = make_replica(
            self.stage.directory,
            len(self.stage.replicas),
            module=module,
            environment=self.environment,
            drain_seconds=DRAIN_SECONDS,
        )
        self.stage.replicas.append(replica)
        replica.launch()
        return replica

    def drain(self, replica: Replica) -> None:
        """Send nobody there any more, and tell it to end."""
        self.service.ready = tuple(one for one in self.service.ready if one is not replica)
        assert replica.process is not None
        replica.process.send_signal(signal.SIGTERM)

    def revision(self) -> str:
        [row] = self.stage.postgres.query("SELECT version_num FROM hatoba_alembic_version")
        return row["version_num"]

    def is_half_way(self) -> bool:
        """Whether a migrator is in the middle of the last revision."""
        statement = (
            "SELECT count(*) AS n FROM pg_stat_activity"
            f" WHERE state = 'active' AND query LIKE 'DO %{next_version.GATE}%'"
        )
        return self.stage.postgres.query(statement)[0]["n"] > 0


@pytest.fixture
def upgrade(tmp_path, tmp_path_factory):
    revisions = next_version.write_revisions(tmp_path_factory.mktemp("next"))
    environment = {"HATOBA_NEXT_REVISIONS": str(revisions), "PYTHONPATH": str(ROOT)}
    with (
        running_postgres(connections=CONNECTIONS) as postgres,
        staged(tmp_path, postgres, replicas=2, drain_seconds=DRAIN_SECONDS) as stage,
    ):
        postgres.query(f"CREATE TABLE {next_version.GATE} (id integer)")
        yield Upgrade(
            stage=stage, service=Service(ready=tuple(stage.replicas)), environment=environment
        )


def answer_of(replica: Replica, path: str) -> Answer | None:
    try:
        return Client(port=replica.port, user="", password="").send("GET", path)
    except Broken:
        return None


def is_waiting(replica: Replica) -> bool:
    """Whether a registry says that it cannot serve yet, and why."""
    health = answer_of(replica, "/health/instance")
    if health is None:
        return False
    assert health.status == 503
    assert json.loads(health.body)["message"] == (
        f"the database is at revision {next_version.BLOBS} and this version needs "
        f"{next_version.HEAD}: run `hatoba registry migrate`"
    )
    return True


def test_no_request_fails_while_a_killed_migration_is_taken_up_and_pods_are_replaced(upgrade):
    stage, service = upgrade.stage, upgrade.service
    old = list(stage.replicas)
    with upgrade.crowd():
        upgrade.work_goes_on()
        # The migrator dies in the middle of the last revision: those before it stay.
        migrating = upgrade.migrate()
        until(upgrade.is_half_way, "the migration did not get anywhere")
        upgrade.work_goes_on()
        migrating.send_signal(signal.SIGKILL)
        migrating.communicate(timeout=30)
        until(lambda: not upgrade.is_half_way(), "PostgreSQL works on for a dead migrator")
        assert upgrade.revision() == next_version.BLOBS
        # A registry of the next version that comes too early waits, and says for what.
        early = upgrade.add(module=NEXT_VERSION)
        until(lambda: is_waiting(early), early.log.read_text())
        assert answer_of(early, "/v2/").status == 503
        # One of the version before that starts only now serves the schema that is ahead of it.
        old.append(upgrade.add(module=VERSION_OF_BEFORE))
        old[-1].wait_until_ready()
        service.ready += (old[-1],)
        upgrade.drain(old[0])
        migrating = upgrade.migrate()
        until(upgrade.is_half_way, "the migration was not taken up")
        upgrade.work_goes_on()
        stage.postgres.query(f"INSERT INTO {next_version.GATE} VALUES (1)")
        output, _ = migrating.communicate(timeout=PATIENCE)
        assert migrating.returncode == 0, output.decode()
        assert upgrade.revision() == next_version.HEAD
        upgrade.work_goes_on()
        early.wait_until_ready()
        service.ready += (early,)
        late = upgrade.add(module=NEXT_VERSION)
        late.wait_until_ready()
        service.ready += (late,)
        upgrade.work_goes_on()
        for replica in old[1:]:
            upgrade.drain(replica)
        for replica in old:
            assert replica.process.wait(PATIENCE) == 0
        upgrade.work_goes_on()
    assert service.failures == []
    client = stage.client()
    client.port = late.port
    read_everything(client)
    stage.verdict()
    assert stage.ledger.counts["tags acknowledged"] > 10
