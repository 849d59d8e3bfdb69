"""What an audit row says."""

from dataclasses import dataclass, field

from hatoba.kernel.json import JsonObject


@dataclass(slots=True, frozen=True, kw_only=True)
class Actor:
    """Who acts: an account, or nobody, from an address."""

    account_id: int | None = None
    ip: str | None = None


NOBODY = Actor()


@dataclass(slots=True, frozen=True, kw_only=True)
class Entry:
    """One row of the audit log.

    `namespace_id` is the account that owns what was touched; `kind` is one of the names in
    `logentrykind`. `metadata` is shown to people: never put a secret in it.
    """

    kind: str
    actor: Actor = NOBODY
    namespace_id: int | None = None
    repository_id: int | None = None
    metadata: JsonObject = field(default_factory=dict)
