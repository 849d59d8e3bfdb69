"""What the launchers of foreign servers share: arguments, the change of user, the last step."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn


@dataclass(slots=True, frozen=True, kw_only=True)
class Launch:
    """The container that a server is launched in."""

    program: str
    root: Path
    address: str
    uid: int | None
    gid: int | None

    def own(self, path: Path) -> None:
        """Make a directory that belongs to the server's user alone."""
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.chmod(0o700)
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def drop(self) -> None:
        """Become the server's user, for good."""
        if self.uid is None or self.gid is None:
            return
        os.setgroups([])
        os.setgid(self.gid)
        os.setuid(self.uid)

    def become(self, arguments: Sequence[str]) -> NoReturn:
        """Replace this process by the server."""
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(self.program, [Path(self.program).name, *arguments])  # noqa: S606 -- no shell


def read_arguments(arguments: Sequence[str]) -> tuple[Launch, list[str]]:
    """Return the launch and the words that are meant for the server."""
    parser = ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--root", required=True, type=Path)
    parser.add_argument("--address", required=True)
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    known, rest = parser.parse_known_args(arguments)
    launch = Launch(
        program=known.program,
        root=known.root,
        address=known.address,
        uid=known.uid,
        gid=known.gid,
    )
    return launch, rest
