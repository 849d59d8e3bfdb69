"""What Google Cloud Storage's XML API refuses, as a rule for the proxy in front of an S3 server.

After Google's documentation ("XML API overview", "Signatures with HMAC keys", "Upload object
parts"); the service itself was never met. Signatures are checked by what the documentation of the
algorithm says, not by the library that made them.
"""

import hashlib
import hmac
import re
from urllib.parse import parse_qsl, quote

from aiohttp import web
from tests.object_storage import ACCESS_KEY, SECRET_KEY

_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM} Credential=(?P<credential>\S+), ?SignedHeaders=(?P<headers>\S+), ?"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)


def refusal(request: web.Request) -> str | None:
    """Return the code of the error that a request is answered with, if it is."""
    headers, query = request.headers, request.query
    if "uploadId" in query and "x-amz-copy-source" in headers:
        return "NotImplemented"
    if request.method == "POST" and "delete" in query:
        return "NotImplemented"
    if headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        return "NotImplemented"
    if any(
        name.lower().startswith(("x-amz-checksum", "x-amz-sdk", "x-amz-tr")) for name in headers
    ):
        return "InvalidArgument"
    return None if _is_signed(request) else "SignatureDoesNotMatch"


def _is_signed(request: web.Request) -> bool:
    if "X-Amz-Signature" in request.query:
        asked = request.query
        found = (asked["X-Amz-Credential"], asked["X-Amz-SignedHeaders"], asked["X-Amz-Signature"])
        credential, names, signature = found
        date, body = asked["X-Amz-Date"], "UNSIGNED-PAYLOAD"
    else:
        match = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
        if match is None:
            return False
        credential, names, signature = match.group("credential", "headers", "signature")
        date, body = request.headers["x-amz-date"], request.headers["x-amz-content-sha256"]
    key, _, scope = credential.partition("/")
    if key != ACCESS_KEY or scope != f"{date[:8]}/auto/s3/aws4_request":
        return False
    return hmac.compare_digest(
        _signature(request, names, date=date, scope=scope, body=body), signature
    )


def _signature(request: web.Request, names: str, *, date: str, scope: str, body: str) -> str:
    path, _, query = request.raw_path.partition("?")
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query, keep_blank_values=True)
        if name != "X-Amz-Signature"
    )
    lines = [f"{name}:{' '.join(request.headers[name].split())}\n" for name in names.split(";")]
    canonical = "\n".join(
        [
            request.method,
            path,
            "&".join(f"{name}={value}" for name, value in pairs),
            "".join(lines),
            names,
            body,
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signed = f"{_ALGORITHM}\n{date}\n{scope}\n{digest}"
    secret = f"AWS4{SECRET_KEY}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    return hmac.digest(secret, signed.encode(), "sha256").hex()
