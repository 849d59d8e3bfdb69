"""Reads what strace saw, and says in which order a push became durable.

A call that took a while is two lines, begun and resumed; what must come before another call must
have ended before that one began.
"""

import re
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "write,pwrite64,writev,pwritev,sendto,sendmsg,read,recvfrom,recvmsg,"
    "fsync,fdatasync,rename,renameat,renameat2,link,linkat"
)
_WRITES = {"write", "pwrite64", "writev", "pwritev"}
_SENDS = {"write", "writev", "sendto", "sendmsg"}
_RECEIVES = {"read", "recvfrom", "recvmsg"}
_SYNCS = {"fsync", "fdatasync"}
_RENAMES = {"rename", "renameat", "renameat2", "link", "linkat"}

_WHOLE = re.compile(r"(?P<pid>\d+) +(?P<call>\w+)\((?P<text>.*)\) += (?P<result>-?\d+).*")
_BEGUN = re.compile(r"(?P<pid>\d+) +(?P<call>\w+)\((?P<text>.*) <unfinished \.\.\.>")
_RESUMED = re.compile(
    r"(?P<pid>\d+) +<\.\.\. (?P<call>\w+) resumed>(?P<text>.*)\) += (?P<result>-?\d+).*"
)
_CONNECTION = re.compile(r"TCP(?:v6)?:\[([^\]]+)\]")
_IDLE = r"Z\0\0\0\5I"
"""ReadyForQuery, outside of a transaction. Spec: PostgreSQL, 55.7, as strace writes it."""


class OutOfOrder(AssertionError):
    """A step is missing where it has to be."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One call of the system; `begun` and `ended` are numbers of lines."""

    begun: int
    ended: int
    call: str
    text: str
    result: int

    @property
    def connection(self) -> str | None:
        found = _CONNECTION.search(self.text)
        return found[1] if found else None

    @property
    def target(self) -> str:
        """The path that the first argument, a file descriptor, stands for."""
        found = re.match(r"\d+<([^>]*)>", self.text)
        return found[1] if found else ""


def parse(lines: list[str]) -> list[Event]:
    """Return the calls that succeeded, in the order in which they began."""
    events: list[Event] = []
    waiting: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        if begun := _BEGUN.fullmatch(line):
            waiting[begun["pid"]] = (number, begun["text"])
        elif found := _RESUMED.fullmatch(line) or _WHOLE.fullmatch(line):
            start, text = number, found["text"]
            if "resumed>" in line and found["pid"] in waiting:
                start, before = waiting.pop(found["pid"])
                text = before + text
            event = Event(
                begun=start,
                ended=number,
                call=found["call"],
                text=text,
                result=int(found["result"]),
            )
            if event.result >= 0:
                events.append(event)
    return sorted(events, key=lambda event: event.begun)


def read(path: Path) -> list[Event]:
    return parse(path.read_text(errors="replace").splitlines())


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What happened, and where the database and the client are."""

    events: list[Event]
    database_port: int
    registry_port: int

    def durable_blob(self, *, digest: str, upload: str) -> list[str]:
        """Return the steps of the push of a blob, in order.

        Raises:
            OutOfOrder: they are not in that order.
        """
        hexadecimal = digest.removeprefix("sha256:")
        file = f"/uploads/{upload}"
        directory = f"/sha256/{hexadecimal[:2]}"
        answered = self._answered(digest)
        committed, commit = self._committed(digest, before=answered)
        synced = self._last(
            "fsync of the directory",
            lambda one: one.call == "fsync" and one.target.endswith(directory),
            before=commit,
        )
        renamed = self._last(
            "rename",
            lambda one: one.call in _RENAMES and f"{directory}/{hexadecimal}" in one.text,
            before=synced,
        )
        flushed = self._last(
            "fsync of the file",
            lambda one: one.call in _SYNCS and one.target.endswith(file),
            before=renamed,
        )
        written = self._last(
            "write", lambda one: one.call in _WRITES and one.target.endswith(file), before=flushed
        )
        late = [
            one
            for one in self.events
            if one.call in _WRITES and one.target.endswith(file) and one.ended > written.ended
        ]
        if late:
            raise OutOfOrder(f"bytes are written behind the fsync: {late[0]}")
        return _names(written, flushed, renamed, synced, commit, committed, answered)

    def durable_directory(self, *, digest: str) -> None:
        """Prove that the directory of a blob was itself durable before the COMMIT.

        Raises:
            OutOfOrder: its parent was not synchronised.
        """
        _, commit = self._committed(digest, before=self._answered(digest))
        self._last(
            "fsync of the parent directory",
            lambda one: one.call == "fsync" and one.target.endswith("/sha256"),
            before=commit,
        )

    def durable_manifest(self, *, digest: str) -> list[str]:
        """Return the steps of the push of a manifest, in order.

        PostgreSQL commits a statement that is no part of a transaction before it says that it
        waits for the next one. Spec: PostgreSQL, 55.2.3, "Extended Query", Sync.

        Raises:
            OutOfOrder: they are not in that order.
        """
        answered = self._answered(digest)
        told = self._told(digest, before=answered)
        committed = self._last(
            "answer outside of a transaction",
            lambda one: (
                one.call in _RECEIVES
                and one.connection == told.connection
                and _IDLE in one.text
                and one.ended > told.ended
            ),
            before=answered,
        )
        return _names(told, committed, answered)

    def _answered(self, digest: str) -> Event:
        for event in self.events:
            if (
                event.call in _SENDS
                and f":{self.registry_port}->" in (event.connection or "")
                and "HTTP/1.1 201" in event.text
                and digest in event.text
            ):
                return event
        raise OutOfOrder("no answer 201 was sent")

    def _committed(self, digest: str, *, before: Event) -> tuple[Event, Event]:
        """Return when PostgreSQL said that it had committed what names a digest, and the COMMIT."""
        told = self._told(digest, before=before)
        committed = self._last(
            "answer to COMMIT",
            lambda one: (
                one.call in _RECEIVES
                and one.connection == told.connection
                and _IDLE in one.text
                and "COMMIT" in one.text
                and one.ended > told.ended
            ),
            before=before,
        )
        commit = self._last(
            "COMMIT",
            lambda one: (
                one.call in _SENDS
                and one.connection == told.connection
                and "COMMIT" in one.text
                and one.begun > told.ended
            ),
            before=committed,
        )
        return committed, commit

    def _told(self, digest: str, *, before: Event) -> Event:
        """Return when PostgreSQL was told a digest."""
        to_database = f"->127.0.0.1:{self.database_port}"
        return self._last(
            "statement with the digest",
            lambda one: (
                one.call in _SENDS
                and (one.connection or "").endswith(to_database)
                and digest in one.text
            ),
            before=before,
        )

    def _last(self, name: str, matches, *, before: Event) -> Event:
        """Return the last call of a kind that had ended when another one began (or ended)."""
        found = [one for one in self.events if one.ended < before.begun and matches(one)]
        if not found:
            raise OutOfOrder(f"no {name} before {before.call}({before.text[:120]}")
        return found[-1]


def _names(*events: Event) -> list[str]:
    return [event.call for event in events]
