"""The parent of one container's program: owns its log, reports its end, outlives the cluster.

Run as a script (`python -I -S shim.py DIRECTORY`) with the standard library alone, so that one
costs a few megabytes and starts in some ten milliseconds. The directory is the attempt's record:

    spec.json      read: argv, env, cwd, uid, gid, log, log_limit
    started.json   written: shim, pid, start_time (clock ticks since boot), started_at
    failed.json    written instead when the program could not be executed: message
    exit.json      written: code, signal, finished_at

Signals go from the kubelet to the program directly; the shim ignores what a terminal sends. When
the program ends, everything it left behind is killed: a container does not outlive its first
process.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
from datetime import UTC, datetime

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CHUNK = 65536
LONGEST_LINE = 16384
"""Longer lines are split, as container runtimes split them (`P` marks the parts)."""
DRAIN_SECONDS = 1.0


def prctl(option: int, value: int) -> None:
    """Change an attribute of this process; a kernel that refuses is not worth dying for."""
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def start_time(pid: int) -> int:
    """Return when a process started, in ticks since boot: with its pid, its identity."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 -- no pathlib here, to stay small
        return int(file.read().rpartition(b")")[2].split()[19])


def write(directory: str, name: str, content: dict) -> None:  # type: ignore[type-arg]
    """Write a record so that readers see all of it or nothing."""
    path = f"{directory}/{name}"
    with open(path + ".new", "w") as file:  # noqa: PTH123
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)  # noqa: PTH105


def stamp(nanoseconds: int) -> str:
    """Return the moment as logs carry it, with nine digits."""
    moment = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 1_000_000_000:09d}Z"


class Log:
    """A log in the runtimes' common format, `time stream F|P text`, with one older part."""

    def __init__(self, path: str, limit: int) -> None:
        self.path = path
        self.limit = limit
        self.partial = {"stdout": b"", "stderr": b""}
        self.file = self.open()

    def open(self) -> int:
        """Open the log for appending."""
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def take(self, stream: str, data: bytes) -> None:
        """Write the complete lines of what came, keep the rest."""
        *lines, rest = (self.partial[stream] + data).split(b"\n")
        for line in lines:
            self.line(stream, line, b"F")
        while len(rest) > LONGEST_LINE:
            self.line(stream, rest[:LONGEST_LINE], b"P")
            rest = rest[LONGEST_LINE:]
        self.partial[stream] = rest

    def finish(self) -> None:
        """Write what has no end of line."""
        for stream, rest in self.partial.items():
            if rest:
                self.line(stream, rest, b"P")

    def line(self, stream: str, text: bytes, tag: bytes) -> None:
        """Write one line; a full disk loses lines, not the container."""
        head = f"{stamp(time.time_ns())} {stream} ".encode()
        with contextlib.suppress(OSError):
            os.write(self.file, head + tag + b" " + text + b"\n")
            if os.fstat(self.file).st_size > self.limit:
                os.close(self.file)
                os.replace(self.path, self.path + ".1")  # noqa: PTH105
                self.file = self.open()


def become(argv: list[str], env: dict[str, str]) -> None:
    """Replace this process by the program, looked for on the PATH that it gets.

    `os.execvpe` would do the same, but imports more when called, which the program's user need not
    be allowed to read.
    """
    places = [""] if "/" in argv[0] else [f"{part}/" for part in env.get("PATH", "").split(":")]
    problem: OSError | None = None
    for place in places:
        try:
            os.execve(place + argv[0], argv, env)  # noqa: S606 -- the point of it
        except (FileNotFoundError, NotADirectoryError) as error:
            problem = problem or error
        except OSError as error:
            problem = error
    raise problem or FileNotFoundError(2, "no such file or directory")


def execute(spec: dict, streams: tuple[int, int], report: int) -> None:  # type: ignore[type-arg]
    """Become the program; what keeps it from being executed goes to `report`."""
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        with open("/dev/null", "rb") as null:  # noqa: PTH123
            os.dup2(null.fileno(), 0)
        os.dup2(streams[0], 1)
        os.dup2(streams[1], 2)
        if spec.get("uid") is not None:
            os.setgroups([])
            os.setgid(spec["gid"])
            os.setuid(spec["uid"])
        # After the change of user, which clears it.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.umask(0o022)
        os.chdir(spec["cwd"])
        become(spec["argv"], spec["env"])
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", "") or str(error)).lower()
        os.write(report, f'exec: "{spec["argv"][0]}": {reason}'.encode())
    finally:
        os._exit(128)


def descendants() -> list[int]:
    """Return the processes below this one that have not ended."""
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        pid = waiting.pop()
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children") as file:  # noqa: PTH123
            children = [int(text) for text in file.read().split()]
            found += children
            waiting += children
    return found


def sweep() -> None:
    """Kill and reap whatever the program left behind."""
    for _ in range(100):
        for pid in descendants():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.02)


def carry(log: Log, pipes: dict[int, str], pid: int) -> int:
    """Copy output into the log until the program ends; return its wait status."""
    poller = select.poll()
    for descriptor in pipes:
        poller.register(descriptor, select.POLLIN)
    ended = os.pidfd_open(pid)
    poller.register(ended, select.POLLIN)
    status: int | None = None
    deadline = float("inf")
    while pipes and time.monotonic() < deadline:
        for descriptor, _ in poller.poll(None if status is None else 50):
            if descriptor == ended:
                status = os.waitpid(pid, 0)[1]
                poller.unregister(ended)
                sweep()
                deadline = time.monotonic() + DRAIN_SECONDS
                continue
            data = os.read(descriptor, CHUNK)
            if data:
                log.take(pipes[descriptor], data)
            else:
                poller.unregister(descriptor)
                os.close(descriptor)
                del pipes[descriptor]
    if status is None:
        # Both outputs were closed by a program that goes on.
        status = os.waitpid(pid, 0)[1]
        sweep()
    return status


def main(directory: str) -> None:
    """Run the attempt that the directory describes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    with open(f"{directory}/spec.json") as file:  # noqa: PTH123
        spec = json.load(file)
    log = Log(spec["log"], spec["log_limit"])
    out, err, report = os.pipe(), os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        execute(spec, (out[1], err[1]), report[1])
    for pipe in (out, err, report):
        os.close(pipe[1])
    started = {
        "shim": os.getpid(),
        "shim_start_time": start_time(os.getpid()),
        "pid": pid,
        "start_time": start_time(pid),
        "started_at": time.time(),
    }
    failure = os.read(report[0], CHUNK)
    if failure:
        os.waitpid(pid, 0)
        write(directory, "failed.json", {"message": failure.decode(), "finished_at": time.time()})
        return
    write(directory, "started.json", started)
    status = carry(log, {out[0]: "stdout", err[0]: "stderr"}, pid)
    log.finish()
    code = os.waitstatus_to_exitcode(status)
    write(
        directory,
        "exit.json",
        {"code": code if code >= 0 else 128 - code, "signal": max(-code, 0)}
        | {"finished_at": time.time()},
    )


if __name__ == "__main__":
    main(sys.argv[1])
