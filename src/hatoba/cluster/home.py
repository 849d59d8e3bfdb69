"""Where an embedded cluster keeps its state, and what it remembers about itself.

`HATOBA_HOME` names the directory; by default it is the XDG state directory, for root a system
directory. Two homes are two clusters: ports, addresses and processes of one never meet the
other's. The directory itself may be entered by everybody, because pods run under another user;
what is secret in it is readable by its owner alone.
"""

import json
import os
import stat
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Final

from hatoba.config.loader import environment
from hatoba.kernel.errors import InvalidInput

SYSTEM_HOME: Final = Path("/var/lib/hatoba")
DEFAULT_API_PORT: Final = 6443


class HomeUnusable(InvalidInput):
    """The state directory cannot be used."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Remembered:
    """What has to stay the same over restarts."""

    api_port: int = DEFAULT_API_PORT
    block: int = 0
    """The second byte of this cluster's addresses, 127.<block>.0.0/16; 0 when none was chosen."""


@dataclass(slots=True, frozen=True)
class Home:
    """The paths of one cluster's state."""

    root: Path

    @property
    def objects(self) -> Path:
        """The API server's store."""
        return self.root / "objects"

    @property
    def pki(self) -> Path:
        """The certificate authority and the certificates it signed."""
        return self.root / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "kubeconfig"

    @property
    def pods(self) -> Path:
        """One directory per pod: its volumes, roots, logs and records."""
        return self.root / "pods"

    @property
    def volumes(self) -> Path:
        """One directory per provisioned volume."""
        return self.root / "volumes"

    @property
    def hosts(self) -> Path:
        """One hosts file per namespace."""
        return self.root / "hosts"

    @property
    def log(self) -> Path:
        """What the cluster process says."""
        return self.root / "cluster.log"

    @property
    def lock(self) -> Path:
        """Held by the supervisor, or by a cluster that runs in the foreground."""
        return self.root / "lock"

    @property
    def process(self) -> Path:
        """Which process the cluster is, written when it is ready to serve."""
        return self.root / "process.json"

    @property
    def catalog(self) -> Path:
        """Additional images."""
        return self.root / "catalog.yaml"

    def prepare(self) -> None:
        """Make the directories.

        Raises:
            HomeUnusable: not ours, or not writable.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o711)
            if self.root.stat().st_uid != os.geteuid():
                raise HomeUnusable(f"{self.root} belongs to another user; set HATOBA_HOME")
            self.root.chmod(0o711)
            for path in (self.pki, self.objects):
                path.mkdir(exist_ok=True, mode=0o700)
            for path in (self.pods, self.volumes, self.hosts):
                path.mkdir(exist_ok=True, mode=0o711)
                path.chmod(0o711)
        except OSError as error:
            raise HomeUnusable(f"{self.root} cannot be used: {error.strerror}") from error

    def check_reachable(self) -> None:
        """Check that servers reach their volumes: root's pods run them as another user.

        Raises:
            HomeUnusable: they do not.
        """
        if os.geteuid() != 0:
            return
        for directory in self.root.resolve().parents:
            if directory.is_dir() and not directory.stat().st_mode & stat.S_IXOTH:
                raise HomeUnusable(
                    f"{self.root} cannot be used: only its owner may enter {directory}, "
                    "but databases run as another user; set HATOBA_HOME to another place"
                )

    def remembered(self) -> Remembered:
        """Read what was kept; the defaults where nothing was."""
        try:
            content = json.loads((self.root / "cluster.json").read_bytes())
        except FileNotFoundError:
            return Remembered()
        known = {field.name for field in fields(Remembered)}
        return replace(Remembered(), **{key: content[key] for key in known & content.keys()})

    def remember(self, values: Remembered) -> None:
        """Keep these values."""
        write_private(self.root / "cluster.json", json.dumps(asdict(values)))


def write_private(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Write a file so that readers see the old content or the new, and only its owner any."""
    data = content.encode() if isinstance(content, str) else content
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        # The umask may have taken away what the caller wants others to have.
        os.fchmod(descriptor, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def find_home() -> Home:
    """Return the home that the environment names, or the default one."""
    variables = environment()
    if named := variables.get("HATOBA_HOME"):
        return Home(Path(named).absolute())
    if os.geteuid() == 0:
        return Home(SYSTEM_HOME)
    state = variables.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Home(Path(state) / "hatoba")
