"""Registry tokens that were issued a moment ago, by what was asked for.

Deciding what somebody may do and signing it takes milliseconds; image clients ask the same again
for every image. An answer is given again for a short while: it expires with its token all the
same, so a revocation waits no longer for it. Whatever is changed over the API empties this.
"""

from dataclasses import dataclass, field
from typing import Final

from hatoba.kernel.cache import TimedCache
from hatoba.kernel.clock import Clock
from hatoba.registry.audit.models import Entry

REMEMBERED_ANSWERS: Final = 4096


@dataclass(slots=True, frozen=True, kw_only=True)
class IssuedToken:
    """The answer that holds a token, and the audit row of its login, if logins are audited."""

    body: bytes
    login: Entry | None = None


@dataclass(slots=True, kw_only=True)
class IssuedTokens:
    """The tokens of one process that may be given again."""

    clock: Clock
    lifetime_seconds: float
    """REGISTRY_TOKEN_REUSE_S."""
    _generation: int = 0
    _answers: TimedCache[bytes, IssuedToken] = field(init=False)

    def __post_init__(self) -> None:
        """Make the cache, which is empty."""
        self._answers = TimedCache(
            clock=self.clock,
            lifetime_seconds=self.lifetime_seconds,
            capacity=REMEMBERED_ANSWERS,
        )

    @property
    def generation(self) -> int:
        """Return what `put` wants to know from before the decision was made."""
        return self._generation

    def get(self, question: bytes) -> IssuedToken | None:
        """Return the token that was issued for this question."""
        return self._answers.get(question)

    def put(self, question: bytes, issued: IssuedToken, *, generation: int) -> None:
        """Keep a token, unless something was changed while it was decided upon."""
        if generation == self._generation:
            self._answers.put(question, issued)

    def clear(self) -> None:
        """Forget all: something was changed that may decide otherwise."""
        self._generation += 1
        self._answers.clear()
