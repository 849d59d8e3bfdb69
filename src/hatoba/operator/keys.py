"""Secrets that a registry keeps for life: made once, never changed under data that needs them.

They live in one Secret without suffix. A value that the user's bundle brings wins and is kept,
so that taking it out of the bundle later changes nothing. Pure but for the random source.
"""

import base64
import string
from collections.abc import Iterable, Mapping
from typing import Final

from hatoba.config.loader import parse_yaml
from hatoba.kernel.ids import random_text
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.model import ManagedKeys

ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase + "-"

SECRET_KEY: Final = "SECRET_KEY"  # noqa: S105 -- a key, not its value
DATABASE_SECRET_KEY: Final = "DATABASE_SECRET_KEY"  # noqa: S105 -- a key, not its value
DB_URI: Final = "DB_URI"
DB_ROOT_PASSWORD: Final = "DB_ROOT_PW"  # noqa: S105 -- a key, not its value
SCANNER_PSK: Final = "SECURITY_SCANNER_V4_PSK"
CLAIR_DB_PASSWORD: Final = "CLAIR_DB_PASSWORD"  # noqa: S105 -- a key, not its value
CLAIR_DB_ROOT_PASSWORD: Final = "CLAIR_DB_ROOT_PW"  # noqa: S105 -- a key, not its value
EDITOR_PASSWORD: Final = "CONFIG_EDITOR_PASSWORD"  # noqa: S105 -- a key, not its value

TLS_CERTIFICATE: Final = "TLS_CERT"
TLS_KEY: Final = "TLS_KEY"

_LENGTHS: Final = {
    SECRET_KEY: 80,
    DATABASE_SECRET_KEY: 80,
    DB_ROOT_PASSWORD: 32,
    CLAIR_DB_PASSWORD: 32,
    CLAIR_DB_ROOT_PASSWORD: 32,
    EDITOR_PASSWORD: 16,
}
_WHERE: Final = {
    "quay-config-secret": {
        key: key for key in (SECRET_KEY, DATABASE_SECRET_KEY, DB_URI, SCANNER_PSK)
    },
    "postgres-config-secret": {DB_ROOT_PASSWORD: "database-root-password"},
    "clairpostgres-config-secret": {
        CLAIR_DB_PASSWORD: "database-password",
        CLAIR_DB_ROOT_PASSWORD: "database-root-password",
    },
    "quay-config-editor-credentials": {EDITOR_PASSWORD: "password"},
}
"""Where else each key stands: sort of generated Secret, key of ours, key in that Secret."""
_FROM_BUNDLE: Final = (SECRET_KEY, DATABASE_SECRET_KEY)


def secret_name(registry: str) -> str:
    """Return the name of the Secret that keeps a registry's keys."""
    return f"{registry}-quay-registry-managed-secret-keys"


def complete(
    stored: Mapping[str, str], config: JsonObject, *, registry: str, postgres_managed: bool
) -> dict[str, str]:
    """Return the stored keys with what is missing made up, and what the bundle brings taken over.

    A result equal to `stored` means that nothing has to be written.
    """
    found = dict(stored)
    for key in _FROM_BUNDLE:
        given = config.get(key)
        if isinstance(given, str) and given:
            found[key] = given
    for key, length in _LENGTHS.items():
        if not found.get(key):
            found[key] = random_text(length, ALPHABET)
    if not found.get(SCANNER_PSK):
        found[SCANNER_PSK] = base64.b64encode(random_text(32, ALPHABET).encode()).decode()
    if postgres_managed and not found.get(DB_URI):
        database = f"{registry}-quay-database"
        password = random_text(80, ALPHABET)
        found[DB_URI] = f"postgresql://{database}:{password}@{database}:5432/{database}"
    return found


def recover(secrets: Iterable[JsonObject], *, registry: str) -> dict[str, str]:
    """Read the keys back from the Secrets that were generated with them.

    For the day on which somebody deletes the Secret that keeps them: a database whose password is
    lost is lost too. The newest Secret of each sort counts.
    """
    found: dict[str, str] = {}
    ordered = sorted(secrets, key=lambda obj: str(obj["metadata"].get("creationTimestamp", "")))
    for obj in ordered:
        annotations = obj["metadata"].get("annotations") or {}
        sort = annotations.get(names.GENERATED_ANNOTATION, "").removeprefix(f"{registry}-")
        values = decode(obj) if sort in _WHERE else {}
        if sort == "quay-config-secret":
            values = {key: str(value) for key, value in parse_yaml(values["config.yaml"]).items()}
        for key, source in _WHERE.get(sort, {}).items():
            if values.get(source):
                found[key] = values[source]
    return found


def unknown() -> dict[str, str]:
    """Return keys that fill a plan which is never rendered."""
    return dict.fromkeys((*_LENGTHS, SCANNER_PSK), "not known yet")


def managed_keys(stored: Mapping[str, str]) -> ManagedKeys:
    """Return complete stored keys as a value."""
    return ManagedKeys(
        secret_key=stored[SECRET_KEY],
        database_secret_key=stored[DATABASE_SECRET_KEY],
        db_uri=stored.get(DB_URI, ""),
        db_root_password=stored[DB_ROOT_PASSWORD],
        scanner_psk=stored[SCANNER_PSK],
        clair_db_password=stored[CLAIR_DB_PASSWORD],
        clair_db_root_password=stored[CLAIR_DB_ROOT_PASSWORD],
        editor_password=stored[EDITOR_PASSWORD],
    )


def decode(secret: JsonObject) -> dict[str, str]:
    """Return a Secret's values as text."""
    data = secret.get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def encode(values: Mapping[str, str]) -> dict[str, str]:
    """Return values as the `data` of a Secret."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in sorted(values.items())}
