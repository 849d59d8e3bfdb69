"""What was acknowledged: the model that every fault is held against.

A push that got its 201 must be there byte for byte ever after. One that got no answer, or 503, is
in doubt: it may have happened or not, until the next acknowledged change of the same tag decides.
An answer that refuses (4xx) must have changed nothing.
"""

import hashlib
import threading
from collections import Counter
from dataclasses import dataclass, field

Absent = None
"""What a tag names that does not exist."""


@dataclass(frozen=True)
class Named:
    """A blob, manifest or tag within a repository."""

    repository: str
    name: str


@dataclass(kw_only=True)
class Ledger:
    """Written by many threads; each tag is changed by one of them at a time."""

    blobs: dict[Named, int] = field(default_factory=dict)
    manifests: dict[Named, str] = field(default_factory=dict)
    tags: dict[Named, set[str | None]] = field(default_factory=dict)
    """What a tag may name: one thing when the last change was acknowledged, more in doubt."""
    lost: list[str] = field(default_factory=list)
    unclean: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def answers(self) -> int:
        """Return how many answers there were, of any kind."""
        with self.lock:
            return sum(count for what, count in self.counts.items() if what.startswith("status"))

    def blob_acknowledged(self, blob: Named, size: int) -> None:
        with self.lock:
            self.blobs[blob] = size
            self.counts["blobs acknowledged"] += 1

    def tag_begins(self, tag: Named, target: str | None) -> set[str | None]:
        """Note that a change is on its way; return what the tag could name before."""
        with self.lock:
            before = set(self.tags.get(tag, {Absent}))
            self.tags[tag] = before | {target}
            return before

    def tag_acknowledged(self, tag: Named, target: str | None) -> None:
        with self.lock:
            self.tags[tag] = {target}
            self.counts["tags acknowledged"] += 1
            if target is not Absent:
                self.manifests[Named(tag.repository, target)] = tag.name

    def tag_refused(self, tag: Named, before: set[str | None]) -> None:
        with self.lock:
            self.tags[tag] = before

    def found(self, tag: Named, target: str | None) -> None:
        """Hold what a tag was seen to name against what it may name."""
        with self.lock:
            allowed = self.tags.get(tag, {Absent})
            if target not in allowed:
                self.lost.append(f"{tag} names {target}, and should name one of {allowed}")

    def found_blob(self, blob: Named, content: bytes | None) -> None:
        with self.lock:
            if content is None:
                self.lost.append(f"{blob} is gone")
            elif digest_of(content) != blob.name or len(content) != self.blobs[blob]:
                self.lost.append(f"{blob} has other bytes than were pushed")

    def some_blob(self, choose) -> Named | None:
        """Return one that was acknowledged, picked by `choose` from them all."""
        with self.lock:
            return choose(list(self.blobs)) if self.blobs else None

    def verdict(self) -> None:
        assert self.lost == [], f"{len(self.lost)} lost, of {self.counts}: {self.lost[:5]}"
        assert self.unclean == [], (
            f"{len(self.unclean)} unclean answers, of {self.counts}: {self.unclean[:5]}"
        )


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
