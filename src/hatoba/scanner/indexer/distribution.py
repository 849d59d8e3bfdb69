"""Which operating system a layer belongs to, by its os-release file.

Spec: os-release(5). Advisories name distributions by the fields made here, see `updaters`.
"""

import shlex

from hatoba.scanner.models import Distribution

PATHS = ("etc/os-release", "usr/lib/os-release")
"""Where the file may lie; the first one wins."""


def parse(content: bytes) -> Distribution | None:
    """Return the distribution; None when the file names none."""
    fields: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            fields[key] = _unquoted(value)
    if not fields.get("ID"):
        return None
    did, pretty = fields["ID"], fields.get("PRETTY_NAME", "")
    return Distribution(
        did=did,
        name=fields.get("NAME", ""),
        version=fields.get("VERSION", ""),
        version_code_name=fields.get("VERSION_CODENAME", ""),
        version_id=fields.get("VERSION_ID", ""),
        cpe=fields.get("CPE_NAME", ""),
        pretty_name=pretty,
    )


def _unquoted(value: str) -> str:
    try:
        words = shlex.split(value)
    except ValueError:
        return value.strip("\"'")
    return words[0] if words else ""
