"""Keeps the cluster process running: the daemon that `hatoba up` leaves behind.

Run as a script (`python -I -S supervisor.py LOCK LOG COMMAND...`) with the standard library alone:
it is there all day and should cost nothing. It holds the home's lock, so whoever wants to know
whether a cluster runs asks the lock, and starts the command again when it ends, unless it was told
to stop by SIGTERM.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from types import FrameType

LOG_LIMIT = 20 << 20
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0
HEALTHY_SECONDS = 60.0
STOP_SECONDS = 15.0
IN_USE = 75
DEATH = "the cluster process ended"
ACQUIRE_ATTEMPTS = 10


class Supervisor:
    """One command, again and again."""

    def __init__(self, log: str, command: list[str]) -> None:
        self.log = log
        self.command = command
        self.is_stopping = False
        self.child: subprocess.Popen[bytes] | None = None

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """Take note of a signal, and pass it on."""
        self.is_stopping = True
        if self.child is not None:
            self.child.terminate()

    def run(self) -> None:
        """Start the command until told to stop."""
        pause = FIRST_PAUSE
        while not self.is_stopping:
            since = time.monotonic()
            self.once()
            if self.is_stopping:
                return
            lived = time.monotonic() - since
            pause = FIRST_PAUSE if lived > HEALTHY_SECONDS else min(pause * 2, LONGEST_PAUSE)
            self.say(f"{DEATH} after {lived:.0f} s; again in {pause:.1f} s")
            self.rest(pause)

    def rest(self, seconds: float) -> None:
        """Wait, but not when told to stop."""
        until = time.monotonic() + seconds
        while not self.is_stopping and time.monotonic() < until:
            time.sleep(0.1)

    def once(self) -> None:
        """Run the command to its end."""
        with contextlib.suppress(OSError):
            if os.path.getsize(self.log) > LOG_LIMIT:  # noqa: PTH202 -- no pathlib, to stay small
                os.replace(self.log, self.log + ".1")  # noqa: PTH105
        with open(self.log, "ab") as output:  # noqa: PTH123
            self.child = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/"
            )
        if self.is_stopping:
            # The signal came between the look and the start.
            self.child.terminate()
        self.wait()

    def wait(self) -> None:
        """Wait for the end; when told to stop, not for ever."""
        assert self.child is not None
        told: float | None = None
        while True:
            try:
                self.child.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                if self.is_stopping:
                    told = told or time.monotonic()
                    if time.monotonic() - told > STOP_SECONDS:
                        self.child.kill()
                continue
            return

    def say(self, text: str) -> None:
        """Add a line to the log."""
        with contextlib.suppress(OSError), open(self.log, "a") as output:  # noqa: PTH123
            output.write(f"supervisor: {text}\n")


def acquire(descriptor: int) -> bool:
    """Take the lock; whoever only looks whether it is held holds it for an instant, too."""
    for attempt in range(ACQUIRE_ATTEMPTS):
        time.sleep(0.02 if attempt else 0)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def main() -> int:
    """Hold the lock and supervise; 75 when somebody else holds it."""
    lock, log, *command = sys.argv[1:]
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not acquire(descriptor):
        return IN_USE
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    supervisor = Supervisor(log, command)
    signal.signal(signal.SIGTERM, supervisor.stop)
    signal.signal(signal.SIGINT, supervisor.stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    supervisor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
