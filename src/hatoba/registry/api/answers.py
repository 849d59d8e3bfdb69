"""The JSON that the API answers with."""

import json
from typing import Any

from starlette.responses import JSONResponse
from typing_extensions import override


class JsonAnswer(JSONResponse):
    """JSON in ASCII, as Quay's: halves of surrogate pairs, which manifests may hold, are escapes.

    Spec: RFC 8259, section 8.2.
    """

    @override
    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")
