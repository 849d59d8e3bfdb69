"""One cluster per home: whoever runs it holds the home's lock."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from hatoba.cluster.home import Home, HomeUnusable
from hatoba.kernel.errors import Conflict


class HomeInUse(Conflict):
    """A cluster runs in this home already."""


@contextmanager
def hold_home(home: Home) -> Iterator[None]:
    """Hold the home's lock.

    Raises:
        HomeInUse: somebody else does.
    """
    descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeInUse(f"a cluster runs in {home.root} already") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)


def holder(home: Home) -> int | None:
    """Return the pid of whoever holds the home, None when nobody does.

    Raises:
        HomeUnusable: it is not ours.
    """
    try:
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise HomeUnusable(f"{home.root} belongs to another user; set HATOBA_HOME") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(descriptor, 32) or b"0")
    finally:
        os.close(descriptor)
    return None
