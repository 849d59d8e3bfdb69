"""Under which user pods run when the cluster runs as root.

PostgreSQL refuses to run as root, and no pod needs it. The user has no entry in /etc/passwd (the
kubelet shows it one through nss_wrapper), so that nothing has to be created on the machine.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from hatoba.kernel.errors import Unavailable

_CANDIDATES: Final = (1_000_480_000, 60_480, 30_480)
"""Beyond all real users; the small ones for user namespaces that map few of them."""


class NoPodUser(Unavailable):
    """There is no user for pods."""


@dataclass(slots=True, frozen=True, kw_only=True)
class PodUser:
    """The unprivileged user of pods."""

    uid: int
    gid: int


@cache
def pod_user() -> PodUser | None:
    """Return the user that pods run under, None when they run under ours.

    Raises:
        NoPodUser: we are root of a user namespace that has no other users.
    """
    if os.geteuid() != 0:
        return None
    uids, gids = _mapped("uid_map"), _mapped("gid_map")
    for candidate in _CANDIDATES:
        if _contains(uids, candidate) and _contains(gids, candidate):
            return PodUser(uid=candidate, gid=candidate)
    raise NoPodUser("this user namespace maps no user that pods could run under")


def _mapped(name: str) -> list[tuple[int, int]]:
    lines = Path("/proc/self", name).read_text().splitlines()
    return [(int(line.split()[0]), int(line.split()[2])) for line in lines]


def _contains(ranges: list[tuple[int, int]], number: int) -> bool:
    return any(first <= number < first + count for first, count in ranges)


@cache
def own_code_user() -> PodUser | None:
    """Return the user that our own parts run under.

    Root when the unprivileged user cannot read interpreter and source, as in a checkout below
    /root.
    """
    user = pod_user()
    if user is None:
        return None
    try:
        subprocess.run(
            [sys.executable, "-c", "import hatoba.cli.main"],
            user=user.uid,
            group=user.gid,
            extra_groups=[],
            cwd="/",
            check=True,
            capture_output=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return user
