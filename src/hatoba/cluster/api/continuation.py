"""Continue tokens: where the next page of a list begins, and in which version of the world."""

import base64
import binascii
import json
from dataclasses import dataclass

from hatoba.cluster.api.status import BadRequest

_KIND = "meta.k8s.io/v1"


@dataclass(slots=True, frozen=True)
class Continuation:
    """After which key to go on; version -1 means the current one, whichever it is."""

    version: int
    after: str

    def encode(self, *, first: bool = False) -> str:
        """Return the token; the first page's keys begin with a slash, as etcd's do."""
        start = f"{'/' if first else ''}{self.after}\0"
        document = {"v": _KIND, "rv": self.version, "start": start}
        encoded = json.dumps(document, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(encoded).rstrip(b"=").decode()


def decode_token(token: str) -> Continuation:
    """Read a token.

    Raises:
        BadRequest: it is not one of ours.
    """
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError) as error:
        raise _invalid(f"illegal base64 data at input byte {len(token) - 1}") from error
    try:
        document = json.loads(raw.decode("latin-1"))
    except json.JSONDecodeError as error:
        character = error.doc[error.pos : error.pos + 1] or " "
        if "escape" in error.msg:
            raise _invalid("invalid character ' ' in \\u hexadecimal character escape") from error
        raise _invalid(f"invalid character '{character}' looking for beginning of value") from error
    if not isinstance(document, dict) or document.get("v") != _KIND:
        raise _invalid('server does not recognize this encoded version ""')
    return Continuation(int(document["rv"]), document["start"].strip("/").removesuffix("\0"))


def _invalid(why: str) -> BadRequest:
    return BadRequest(f"invalid continue token: continue key is not valid: {why}")
