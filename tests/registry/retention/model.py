"""What must be there, told without the code under test: the rules of keeping, over plain lists."""

from dataclasses import dataclass, field

from hatoba.kernel.digests import Digest

HOLD_MS = 3_600_000
# Shorter than a hold, so that each of them is at times what keeps a manifest alone.
TIME_MACHINE_MS = HOLD_MS // 2


@dataclass(frozen=True, kw_only=True)
class Content:
    """A manifest and what it names."""

    content: bytes
    blobs: frozenset[bytes] = frozenset()
    children: tuple[str, ...] = ()
    subject: str | None = None
    lifetime: int | None = None
    """How long a tag lives that it is pushed under: its label says so."""

    @property
    def digest(self) -> str:
        return str(Digest.of(self.content))


@dataclass(kw_only=True)
class TagRow:
    name: str
    digest: str
    start: int
    end: int | None = None
    hidden: bool = False


@dataclass(kw_only=True)
class Repository:
    """One repository of the model."""

    present: dict[str, Content] = field(default_factory=dict)
    """What the database has; adopted from it after it was found to have all that it must."""
    rows: list[TagRow] = field(default_factory=list)
    holds: list[tuple[bytes, int]] = field(default_factory=list)
    window: int = TIME_MACHINE_MS
    """How long an ended tag can be restored."""

    def living(self, now: int) -> list[TagRow]:
        return [row for row in self.rows if row.end is None or row.end > now]

    def alive(self, tag: str, now: int) -> TagRow | None:
        alive = [row for row in self.living(now) if row.name == tag and not row.hidden]
        return max(alive, key=lambda row: row.start, default=None)

    def is_part_of_index(self, digest: str, now: int) -> bool:
        """Whether an index with a living tag, or one above it, lists the manifest."""
        holders: set[str] = set()
        below = {digest}
        while below:
            above = {one for one, made in self.present.items() if below & set(made.children)}
            below = above - holders
            holders |= above
        return any(row.digest in holders for row in self.living(now))

    def tag(self, name: str, digest: str, now: int, *, end: int | None = None) -> None:
        current = self.alive(name, now)
        if current is not None:
            current.end = now
        self.rows.append(TagRow(name=name, digest=digest, start=now, end=end))

    def hold_manifest(self, content: Content, now: int) -> None:
        end = None if content.subject else now + HOLD_MS
        self.rows.append(
            TagRow(name="$temp", digest=content.digest, start=now, end=end, hidden=True)
        )

    def reachable(self, now: int) -> set[str]:
        """Grow from what tags keep until nothing is added."""
        kept = {row.digest for row in self.rows if self._keeps(row, now)} & set(self.present)
        followers = {row.digest for row in self.rows if row.hidden and row.end is None} & set(
            self.present
        )
        while True:
            more = set(kept)
            for digest in kept:
                content = self.present[digest]
                more |= {child for child in content.children if child in self.present}
                if content.subject in self.present:
                    more.add(content.subject)
            for digest in followers:
                subject = self.present[digest].subject
                if subject not in self.present or subject in kept:
                    more.add(digest)
            if more == kept:
                return kept
            kept = more

    def _keeps(self, row: TagRow, now: int) -> bool:
        if row.hidden:
            return row.end > now if row.end is not None else row.start + HOLD_MS > now
        return row.end is None or row.end + self.window > now

    def held_blobs(self, now: int) -> set[bytes]:
        """What pushes may count on."""
        named = {blob for digest in self.reachable(now) for blob in self.present[digest].blobs}
        return named | {blob for blob, until in self.holds if until > now}
