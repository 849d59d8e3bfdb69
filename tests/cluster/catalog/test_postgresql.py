"""The PostgreSQL launcher: the contract of the image it stands for, and being killed."""

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import pytest

from hatoba.cluster.catalog.identity import pod_user
from hatoba.cluster.catalog.images import ImageUnknown, Situation
from hatoba.cluster.catalog.postgresql import Contract, forget_dead_server, literal, quoted
from hatoba.cluster.catalog.programs import find_program, standard_catalog
from hatoba.cluster.kubelet.names import ServiceNames, WrapperMissing
from hatoba.kernel.errors import InvalidInput
from hatoba.operator.components.postgres import ACCEPTS_CONNECTIONS, ADDRESS_VARIABLE

SETTINGS = {
    "POSTGRESQL_USER": "quay",
    "POSTGRESQL_PASSWORD": "it's \\ secret",
    "POSTGRESQL_DATABASE": "my-database",
    "POSTGRESQL_ADMIN_PASSWORD": "root",
}
SECONDS = 20.0
dice = random.SystemRandom()


def test_owner_password_and_database_go_together():
    with pytest.raises(InvalidInput, match="go together"):
        Contract.read({"POSTGRESQL_USER": "quay"})
    with pytest.raises(InvalidInput, match="must be set"):
        Contract.read({})
    assert Contract.read(SETTINGS).max_connections == "100"


def test_names_and_passwords_are_quoted():
    assert quoted('a"b') == '"a""b"'
    assert literal("it's \\") == "E'it''s \\\\'"


def test_the_fingerprint_of_passwords_hides_them():
    contract = Contract.read(SETTINGS)
    assert "secret" not in contract.fingerprint("salt")
    assert contract.fingerprint("salt") == contract.fingerprint("salt")
    assert contract.fingerprint("salt") != contract.fingerprint("pepper")


def test_the_lock_of_a_server_that_is_no_more_is_removed(tmp_path):
    lock = tmp_path / "postmaster.pid"
    # Our own pid: alive, but no server of this directory.
    lock.write_text(f"{os.getpid()}\n{tmp_path}\n")
    forget_dead_server(tmp_path)
    assert not lock.exists()
    with subprocess.Popen(["sleep", "100"], cwd=tmp_path) as server:
        lock.write_text(f"{server.pid}\n")
        forget_dead_server(tmp_path)
        assert lock.exists()
        server.kill()


class Launcher:
    """A launched server in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # Beyond those of clusters; parallel tests each have one of their own.
        self.address = ".".join(map(str, (127, 242, dice.randint(1, 250), dice.randint(2, 250))))
        self.process: subprocess.Popen | None = None

    def start(self, **changes: str) -> None:
        user = pod_user()
        program = str(Path(find_program("postgres", package="postgresql")).resolve())
        identity = [] if user is None else ["--uid", str(user.uid), "--gid", str(user.gid)]
        (self.directory / "hosts").mkdir(exist_ok=True, mode=0o755)
        names = ServiceNames(self.directory / "hosts")
        command = [sys.executable, "-m", "hatoba.cluster.catalog.postgresql", "--program", program]
        place = ["--root", str(self.directory / "root"), "--address", self.address]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *place, *identity],
                env={"PATH": os.environ["PATH"], **names.variables("x"), **SETTINGS, **changes},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex((self.address, 5432)) == 0:
                    return
            assert self.process is not None
            assert self.process.poll() is None, (self.directory / "log").read_text()
            time.sleep(0.05)
        raise AssertionError((self.directory / "log").read_text())

    def stop(self, number: int = signal.SIGINT) -> None:
        if self.process is not None and self.process.poll() is None:
            if number == signal.SIGKILL:
                # As a shim does: what the launcher has started does not outlive it.
                os.killpg(self.process.pid, number)
            self.process.send_signal(number)
            self.process.wait(SECONDS)

    async def ask(self, question: str, **credentials: str):
        arguments = {
            "user": "quay",
            "password": SETTINGS["POSTGRESQL_PASSWORD"],
            "database": "my-database",
            **credentials,
        }
        connection = await self._connect(**arguments)
        try:
            return await connection.fetchval(question)
        finally:
            await connection.close()

    def is_ready(self) -> bool:
        """Ask as the operator's pods are asked."""
        image = standard_catalog().find("quay.io/sclorg/postgresql-15-c9s:latest")
        variables = image.variables(Situation(root=self.directory, address=self.address))
        asked = subprocess.run(
            ["sh", "-c", ACCEPTS_CONNECTIONS],
            env={**variables, **SETTINGS, ADDRESS_VARIABLE: self.address},
            check=False,
            timeout=SECONDS,
        )
        # What else it can say is that it could not even ask.
        assert asked.returncode in {0, 1, 2}
        return asked.returncode == 0

    async def _connect(self, **arguments):
        """Connect; a server that was killed recovers first and says so."""
        for _ in range(100):
            try:
                return await asyncpg.connect(host=self.address, **arguments)
            except asyncpg.CannotConnectNowError:
                await asyncio.sleep(0.05)
        raise AssertionError((self.directory / "log").read_text())


@pytest.fixture
def launcher():
    try:
        find_program("postgres", package="postgresql")
        with tempfile.TemporaryDirectory(prefix="hatoba-test-pg-") as place:
            Path(place).chmod(0o711)
            (Path(place) / "root").mkdir()
            found = Launcher(Path(place))
            try:
                yield found
            finally:
                found.stop(signal.SIGKILL)
    except (ImageUnknown, WrapperMissing) as missing:
        pytest.skip(missing.message)


@pytest.mark.postgres
@pytest.mark.anyio
async def test_owner_and_administrator_come_in_from_outside(launcher):
    launcher.start()
    launcher.wait()
    assert await launcher.ask("select current_user") == "quay"
    assert await launcher.ask("create extension pg_trgm", user="postgres", password="root") is None
    with pytest.raises(asyncpg.InvalidPasswordError):
        await launcher.ask("select 1", password="wrong")


@pytest.mark.postgres
@pytest.mark.anyio
async def test_data_survives_a_kill_and_changed_passwords_count(launcher):
    launcher.start()
    launcher.wait()
    await launcher.ask("create table kept as select 42 as answer")
    launcher.stop(signal.SIGKILL)
    launcher.start(POSTGRESQL_PASSWORD="new")
    launcher.wait()
    assert await launcher.ask("select answer from kept", password="new") == 42
    with pytest.raises(asyncpg.InvalidPasswordError):
        await launcher.ask("select 1")


@pytest.mark.postgres
@pytest.mark.anyio
async def test_a_launcher_killed_while_making_the_database_starts_over(launcher):
    launcher.start()
    data = launcher.directory / "root" / "var/lib/pgsql/data"
    async with asyncio.timeout(SECONDS):
        while not list(data.glob("making-*/base")):  # noqa: ASYNC110 -- a file of another process
            await asyncio.sleep(0.01)
    launcher.stop(signal.SIGKILL)
    assert not (data / "userdata").exists()
    launcher.start()
    launcher.wait()
    assert await launcher.ask("select 1") == 1
    assert not list(data.glob("making-*"))


@pytest.mark.postgres
@pytest.mark.anyio
async def test_a_server_that_recovers_listens_and_is_not_ready(launcher):
    launcher.start()
    launcher.wait()
    await launcher.ask("select 1")
    launcher.stop(signal.SIGKILL)
    # Recovery asks for what follows in an archive, and does not go on before it is answered.
    data = launcher.directory / "root" / "var/lib/pgsql/data/userdata"
    gate, asked = data / "gate", data / "asked"
    (data / "recovery.signal").touch(mode=0o666)
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write(
            f"restore_command = 'touch {asked}; until test -e {gate}; do sleep 0.05; done; false'\n"
        )
    launcher.start()
    launcher.wait()
    await _until(asked.exists)
    launcher.wait()
    assert not launcher.is_ready()
    gate.touch()
    await _until(launcher.is_ready)
    assert await launcher.ask("select 1") == 1
    launcher.stop()


async def _until(condition):
    async with asyncio.timeout(3 * SECONDS):
        while not condition():  # noqa: ASYNC110 -- files and answers of other processes
            await asyncio.sleep(0.05)


def test_programs_are_where_they_are_expected():
    if shutil.which("postgres") is None:
        pytest.skip("PostgreSQL is not on PATH")
    assert Path(find_program("postgres", package="postgresql")).name == "postgres"
