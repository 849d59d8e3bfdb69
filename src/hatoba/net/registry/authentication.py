"""Answer the challenge of a registry.

Spec: RFC 9110 11.6.1 (WWW-Authenticate), Docker "Token Authentication Specification": a Bearer
challenge names a realm, a service and a scope; the token comes from a GET to the realm.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
MAXIMUM_CHALLENGE_LENGTH: Final = 4096


@dataclass(slots=True, frozen=True, kw_only=True)
class Credentials:
    """Name and password at the other registry."""

    username: str
    password: str

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(slots=True, frozen=True, kw_only=True)
class Challenge:
    """One parsed WWW-Authenticate header; the scheme in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenge(header: str) -> Challenge | None:
    """Read the header's first challenge; None where there is none to be understood."""
    header = header.strip()[:MAXIMUM_CHALLENGE_LENGTH]
    scheme, _, rest = header.partition(" ")
    if not scheme.isalpha():
        return None
    parameters = {
        match[1].lower(): match[2].replace('\\"', '"') if match[2] is not None else match[3]
        for match in _PARAMETER.finditer(rest)
    }
    return Challenge(scheme=scheme.lower(), parameters=parameters)
