"""`hatoba backup` as a process: a stand-alone registry into a vault and out of it."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.object_storage import ACCESS_KEY, SECRET_KEY

from hatoba.cli.main import hatoba
from hatoba.kernel.digests import Digest
from hatoba.kernel.errors import HatobaError
from hatoba.registry.backup.errors import BackupMissing, ProgramMissing
from hatoba.registry.backup.programs import find_program
from hatoba.registry.standalone import DirectoryInUse, open_standalone

pytestmark = pytest.mark.timeout(180)
LARGE = 64 << 20


def run(*arguments, env=None) -> str:
    result = CliRunner().invoke(hatoba, ["backup", *map(str, arguments)], env=env)
    if isinstance(result.exception, HatobaError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(run("key"))
    return path


@pytest.fixture
def registry(tmp_path, migrated_standalone):
    """A stand-alone registry with a blob of its own."""
    configuration = open_standalone(tmp_path / "data", hostname="localhost:1")
    (tmp_path / "data" / "registry.db").write_bytes(migrated_standalone)
    return Home(configuration.directory)


@pytest.fixture(scope="module")
def migrated_standalone(tmp_path_factory) -> bytes:
    directory = tmp_path_factory.mktemp("standalone")
    open_standalone(directory, hostname="localhost:1")
    arguments = ["registry", "migrate", "--config", str(directory)]
    assert CliRunner().invoke(hatoba, arguments).exit_code == 0
    return (directory / "registry.db").read_bytes()


class Home:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, digest: Digest) -> Path:
        return self.directory / "storage" / "sha256" / digest.hex[:2] / digest.hex

    def hold(self, content: bytes) -> Digest:
        """Put a blob and its row into the registry, as a push would."""
        digest = Digest.of(content)
        self.path(digest).parent.mkdir(parents=True)
        self.path(digest).write_bytes(content)
        connection = sqlite3.connect(self.directory / "registry.db")
        with connection:
            connection.execute(
                "INSERT INTO imagestorage (uuid, image_size, cas_path, content_checksum)"
                " VALUES (?, ?, 1, ?)",
                (digest.hex, len(content), str(digest)),
            )
        connection.close()
        return digest


def test_a_laptops_registry_moves_into_another_directory(registry, key_file, tmp_path):
    digest = registry.hold(b"content")
    where = ("--vault", tmp_path / "vault", "--key-file", key_file)
    made = json.loads(run("create", "--config", registry.directory, *where, "--json"))
    assert made["blob_count"] == 1
    assert [one["id"] for one in json.loads(run("list", *where, "--json"))] == [made["id"]]
    assert "is whole" in run("verify", *where)
    target = tmp_path / "elsewhere"
    assert "1 blobs are there" in run("restore", *where, "--data", target)
    assert Home(target).path(digest).read_bytes() == b"content"
    kept = (target / "config.yaml").read_text()
    assert str(registry.directory) not in kept
    (line,) = [one for one in kept.splitlines() if one.startswith("DATABASE_SECRET_KEY")]
    assert line in (registry.directory / "config.yaml").read_text()
    assert "held it already" in run("restore", *where, "--data", target)
    with pytest.raises(DirectoryInUse, match="name an empty directory"):
        run("restore", *where, "--data", _another(tmp_path / "third"))


def _another(directory: Path) -> Path:
    open_standalone(directory, hostname="localhost:1")
    return directory


def test_a_vault_in_a_bucket_with_attached_files(registry, key_file, tmp_path, object_storage):
    registry.hold(b"content")
    secret = tmp_path / "bundle"
    secret.mkdir()
    (secret / "password").write_text("hidden")
    env = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    vault = f"s3://{object_storage.new_bucket()}/prefix"
    where = ("--vault", vault, "--key-file", key_file, "--s3-endpoint", object_storage.url)
    attach = ("--attach", str(secret), "--keep", "1")
    run("create", "--config", registry.directory, *where, *attach, env=env)
    again = run("create", "--config", registry.directory, *where, *attach, env=env)
    assert "0 of them new" in again
    assert "1 backups removed" in again
    into = ("--attached", "bundle", "--into", tmp_path / "out")
    assert run("configuration", *where, *into, env=env).strip() == f"{tmp_path}/out/password"
    assert (tmp_path / "out" / "password").read_text() == "hidden"


def test_a_killed_backup_is_none_and_the_next_one_succeeds(registry, key_file, tmp_path):
    registry.hold(b"x" * LARGE)
    vault = tmp_path / "vault"
    where = ["--vault", str(vault), "--key-file", str(key_file)]
    command = [sys.executable, "-m", "hatoba.cli.main", "backup", "create", *where]
    command += ["--config", str(registry.directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(vault.glob("blobs/*/.begun-*")):
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert run("list", *where) == "the vault holds no backup\n"
    with pytest.raises(BackupMissing):
        run("restore", *where, "--data", tmp_path / "target")
    assert not (tmp_path / "target").exists()
    assert list(vault.glob("backups/*/database"))
    # The dead one's hold ends by itself; here nobody waits for that.
    connection = sqlite3.connect(registry.directory / "registry.db")
    with connection:
        connection.execute("UPDATE hatoba_lease SET expires_at_ms = 0")
    connection.close()
    run("create", "--config", registry.directory, *where)
    assert "is whole" in run("verify", *where)


def test_a_missing_program_is_named(tmp_path):
    with pytest.raises(ProgramMissing, match="pg_nonsense is not installed"):
        find_program("pg_nonsense")


@pytest.mark.parametrize("attached", ["/does/not/exist", "/", "/dev/null"])
def test_what_cannot_be_attached_is_refused(registry, key_file, tmp_path, attached):
    arguments = ["--vault", str(tmp_path / "v"), "--key-file", str(key_file), "--attach", attached]
    arguments += ["--config", str(registry.directory)]
    result = CliRunner().invoke(hatoba, ["backup", "create", *arguments])
    assert result.exit_code == 2
    assert "is no directory that can be attached" in result.output
    assert not (tmp_path / "v").exists()
