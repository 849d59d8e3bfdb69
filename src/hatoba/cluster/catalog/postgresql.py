"""Launches PostgreSQL as the sclorg image does.

    POSTGRESQL_USER, POSTGRESQL_PASSWORD, POSTGRESQL_DATABASE   owner and database, made once
    POSTGRESQL_ADMIN_PASSWORD                                   lets `postgres` in from outside
    POSTGRESQL_MAX_CONNECTIONS, POSTGRESQL_SHARED_BUFFERS       settings
    PGPORT                                                      where it listens, else 5432

Data lies in `/var/lib/pgsql/data/userdata`. It is made aside and renamed when it is complete, so
that a launcher killed at any moment starts over instead of serving half a database. Passwords that
changed are set again at the next start, as the image does. Roles are written by PostgreSQL's
single-user mode: no server listens before it is safe to.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hatoba.cluster.catalog.launching import Launch, read_arguments
from hatoba.config.loader import environment
from hatoba.kernel.errors import HatobaError, InvalidInput
from hatoba.kernel.ids import random_text, same_secret

DATA: Final = "var/lib/pgsql/data"
PORT: Final = 5432
_FINGERPRINT: Final = "hatoba.passwords"
SETTINGS: Final = {
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "jit": "off",
    "autovacuum_max_workers": "2",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "dynamic_shared_memory_type": "posix",
}
_ACCESS: Final = "host all all 0.0.0.0/0 scram-sha-256\nhost all all ::/0 scram-sha-256\n"


class DatabaseNotMade(HatobaError):
    """PostgreSQL's own programs refused to make the database."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Contract:
    """What the image reads from its environment."""

    user: str
    password: str
    database: str
    admin_password: str
    max_connections: str
    shared_buffers: str
    port: str

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "Contract":
        """Read the environment.

        Raises:
            InvalidInput: neither an owner with a database nor an administrator's password.
        """
        contract = cls(
            user=variables.get("POSTGRESQL_USER", ""),
            password=variables.get("POSTGRESQL_PASSWORD", ""),
            database=variables.get("POSTGRESQL_DATABASE", ""),
            admin_password=variables.get("POSTGRESQL_ADMIN_PASSWORD", ""),
            max_connections=variables.get("POSTGRESQL_MAX_CONNECTIONS", "100"),
            shared_buffers=variables.get("POSTGRESQL_SHARED_BUFFERS", "32MB"),
            port=variables.get("PGPORT", str(PORT)),
        )
        owner = (contract.user, contract.password, contract.database)
        if any(owner) and not all(owner):
            raise InvalidInput(
                "POSTGRESQL_USER, POSTGRESQL_PASSWORD and POSTGRESQL_DATABASE go together"
            )
        if not any(owner) and not contract.admin_password:
            raise InvalidInput("POSTGRESQL_ADMIN_PASSWORD or POSTGRESQL_USER must be set")
        return contract

    def creation(self) -> list[str]:
        """Return the statements that make owner and database."""
        if not self.user:
            return []
        owner, database = quoted(self.user), quoted(self.database)
        return [
            f"CREATE USER {owner}",
            f"CREATE DATABASE {database} OWNER {owner} ENCODING 'UTF8' TEMPLATE template0",
        ]

    def passwords(self) -> list[str]:
        """Return the statements that set all passwords."""
        statements = []
        if self.user:
            statements.append(f"ALTER USER {quoted(self.user)} PASSWORD {literal(self.password)}")
        if self.admin_password:
            statements.append(f"ALTER USER postgres PASSWORD {literal(self.admin_password)}")
        return statements

    def fingerprint(self, salt: str) -> str:
        """Return what tells whether passwords changed, and nothing about them."""
        text = f"{self.user}\0{self.password}\0{self.admin_password}"
        return (
            salt + "$" + hashlib.scrypt(text.encode(), salt=salt.encode(), n=2**12, r=8, p=1).hex()
        )


def quoted(name: str) -> str:
    """Quote an identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a string, backslashes included."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"


def run_single(launch: Launch, data: Path, statements: list[str]) -> None:
    """Execute statements without a server, one per line.

    Raises:
        DatabaseNotMade: PostgreSQL refused one; the message is its own.
    """
    text = "".join(statement.replace("\n", " ") + ";\n" for statement in statements)
    result = subprocess.run(
        [launch.program, "--single", "-D", str(data), "-c", "exit_on_error=on", "postgres"],
        input=text.encode(),
        capture_output=True,
        check=False,
        cwd=data,
    )
    if result.returncode != 0:
        complaints = result.stderr.decode(errors="replace").splitlines()
        # A statement holds a password: only PostgreSQL's verdict is shown.
        told = [line for line in complaints if "ERROR" in line or "FATAL" in line]
        raise DatabaseNotMade("; ".join(told) or f"exit code {result.returncode}")


def make_database(launch: Launch, contract: Contract, *, data: Path) -> None:
    """Make the data directory aside and rename it into place."""
    for stale in data.parent.glob("making-*"):
        shutil.rmtree(stale)
    fresh = Path(tempfile.mkdtemp(prefix="making-", dir=data.parent))
    initdb = str(Path(launch.program).with_name("initdb"))
    command = [initdb, "-D", str(fresh), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"]
    result = subprocess.run(
        [*command, "--auth-local=peer", "--auth-host=scram-sha-256", "--no-sync"],
        capture_output=True,
        check=False,
        cwd=data.parent,
    )
    if result.returncode != 0:
        raise DatabaseNotMade(result.stderr.decode(errors="replace").strip())
    (fresh / "pg_hba.conf").write_text(_ACCESS)
    run_single(launch, fresh, [*contract.creation(), *contract.passwords()])
    _note_passwords(fresh, contract)
    subprocess.run([initdb, "-D", str(fresh), "--sync-only"], check=True, capture_output=True)
    fresh.rename(data)
    directory = os.open(data.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _note_passwords(data: Path, contract: Contract) -> None:
    (data / _FINGERPRINT).write_text(contract.fingerprint(random_text(16)))


def set_passwords(launch: Launch, contract: Contract, *, data: Path) -> None:
    """Set the passwords again where they differ from the last start's."""
    path = data / _FINGERPRINT
    noted = path.read_text() if path.exists() else ""
    salt = noted.partition("$")[0]
    if salt and same_secret(contract.fingerprint(salt), noted):
        return
    run_single(launch, data, contract.passwords())
    _note_passwords(data, contract)


def forget_dead_server(data: Path) -> None:
    """Remove the lock file of a server that was killed, when its pid is somebody else's by now.

    PostgreSQL itself only asks whether the pid is alive, and pods share one user.
    """
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text().split("\n", 1)[0])
        is_server = Path(f"/proc/{pid}/cwd").samefile(data)
    except FileNotFoundError:
        is_server = False
    except ValueError:
        # Empty: the machine stopped while it was written.
        is_server = False
    if not is_server:
        lock.unlink(missing_ok=True)


def server_arguments(contract: Contract, *, data: Path, address: str) -> list[str]:
    """Return the arguments of the server."""
    settings = SETTINGS | {
        "listen_addresses": address,
        "port": contract.port,
        "max_connections": contract.max_connections,
        "shared_buffers": contract.shared_buffers,
    }
    flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return ["-D", str(data), *flags]


def main() -> None:
    """Make the database if there is none, become PostgreSQL."""
    launch, rest = read_arguments(sys.argv[1:])
    contract = Contract.read(environment())
    parent = launch.root / DATA
    launch.own(parent)
    data = parent.resolve() / "userdata"
    launch.drop()
    os.chdir(data.parent)
    if not data.exists():
        make_database(launch, contract, data=data)
    else:
        forget_dead_server(data)
        set_passwords(launch, contract, data=data)
    launch.become([*server_arguments(contract, data=data, address=launch.address), *rest])


if __name__ == "__main__":
    try:
        main()
    except HatobaError as error:
        sys.stderr.write(f"postgresql: {error.message}\n")
        sys.exit(1)
