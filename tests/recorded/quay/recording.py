"""The recorded exchanges, and what in them differs on every run."""

import base64
import gzip
import json
import re
from pathlib import Path

SHARED = Path(__file__).parents[4] / "shared/data/quay"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
SIGNED = re.compile(UUID.pattern + r"(?:-[0-9a-f]{32})?")
"""Ours, too: ids of uploads are signed here."""
SECRET = re.compile(r"\b[A-Z0-9]{20,128}\b")
DATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d (-0000|GMT)")
VOLATILE = {
    "access_token",
    "client_id",
    "client_secret",
    "csrf_token",
    "encrypted_password",
    "expires_at",
    "id",
    "key",
    "kid",
    "next_page",
    "password",
    "popularity",
    "token_code",
    "sync_start_date",
    "creation_date",
}
LATER = {"quotas", "quota_report", "global_readonly_super_user"}
"""Keys of features that are not built, and of versions after the contract's."""
ADDED = {"expires_in", "issued_at"}
"""Keys that we add on purpose: what the token specification lets clients know of a token."""
UNORDERED = {"organizations", "prototypes", "robots", "repositories", "tags", "tokens", "users"}
TEXTS = {"detail", "error_message", "message"}


def exchanges():
    """Yield the recorded HTTP exchanges in order."""
    with gzip.open(SHARED / "exchanges.jsonl.gz", "rt") as lines:
        for line in lines:
            exchange = json.loads(line)
            if "actor" in exchange and exchange.get("direction") is None:
                yield exchange


def blob(reference):
    """Return the bytes of a recorded binary body."""
    return (SHARED / "blobs" / reference["$blob"].removeprefix("sha256:")).read_bytes()


def is_truncated(body):
    return isinstance(body, dict) and any(str(key).startswith("$") for key in body)


def comparable(value, key=""):  # noqa: PLR0911 -- one return for each kind of value
    """Return a value without what differs on every run."""
    if isinstance(value, dict):
        return {
            comparable(name): comparable(item, name)
            for name, item in value.items()
            if name not in LATER | ADDED
        }
    if isinstance(value, list):
        items = [comparable(item, key) for item in value]
        return sorted(items, key=json.dumps) if key in UNORDERED else items
    if value is None or isinstance(value, bool):
        return value
    if key == "token" and str(value).startswith("ey"):
        return _claims(str(value))
    if key in VOLATILE or key == "token" or key.endswith(("_ts", "_ms")):
        return f"<{type(value).__name__}>"
    if isinstance(value, (int, float)):
        return float(value)
    text = str(value).split("\n")[0] if key in TEXTS else str(value)
    text = DATE.sub("<date>", SIGNED.sub("<uuid>", text))
    return f"<{key}>" if key in {"hash", "color"} else text


def _claims(token):
    encoded = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    access = [{**entry, "actions": sorted(entry["actions"])} for entry in claims.get("access", [])]
    return {"iss": claims["iss"], "aud": claims["aud"], "sub": claims["sub"], "access": access}


def pairs(recorded, ours):
    """Yield (theirs, ours) of strings at the same place of two bodies."""
    if isinstance(recorded, dict) and isinstance(ours, dict):
        for key in recorded.keys() & ours.keys():
            yield from pairs(recorded[key], ours[key])
    elif isinstance(recorded, list) and isinstance(ours, list):
        for left, right in zip(recorded, ours, strict=False):
            yield from pairs(left, right)
    elif isinstance(recorded, str) and isinstance(ours, str) and recorded != ours:
        yield recorded, ours
