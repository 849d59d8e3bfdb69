"""Run moto's server with the one answer put right that would make ours drop uploads.

It says of every multipart upload that it was begun in 2010, so the duty that sweeps what killed
processes left would abort those of the test that is running. Run as `python -m tests.moto_server`.
"""

import re
import sys
from datetime import UTC, datetime

from moto import server
from moto.s3.responses import S3Response

FIXED = re.compile(r"2010-11-10T20:48:33(\.000)?Z")
BEGUN = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


ORIGINAL = S3Response.list_multipart_uploads


def list_multipart_uploads(response):
    status, headers, body = ORIGINAL(response)
    text = body.decode() if isinstance(body, bytes) else body
    return status, headers, FIXED.sub(BEGUN, text)


if __name__ == "__main__":
    S3Response.list_multipart_uploads = list_multipart_uploads  # type: ignore[method-assign]
    server.main(sys.argv[1:])
