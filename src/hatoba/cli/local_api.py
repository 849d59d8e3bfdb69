"""Reads from a cluster's API by its kubeconfig, with the standard library alone.

For commands that must answer at once; whoever does more uses a Kubernetes client.
"""

import base64
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import yaml

from hatoba.kernel.errors import NotFound, Unavailable
from hatoba.kernel.json import JsonObject

_TIMEOUT_SECONDS: Final = 5.0


@dataclass(slots=True, frozen=True, kw_only=True)
class LocalApi:
    """A cluster's API."""

    server: str
    token: str
    context: ssl.SSLContext

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Self:
        """Read the first cluster and user of a kubeconfig."""
        content = yaml.safe_load(path.read_text())
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cls(
            server=cluster["server"],
            token=user["token"],
            context=ssl.create_default_context(cadata=authority),
        )

    def get(self, path: str) -> JsonObject:
        """Read one path.

        Raises:
            NotFound: nothing is served there.
            Unavailable: the API does not answer.
        """
        request = urllib.request.Request(  # noqa: S310 -- the kubeconfig names an https server
            self.server + path, headers={"Authorization": f"Bearer {self.token}"}
        )
        try:
            with urllib.request.urlopen(  # noqa: S310
                request, timeout=_TIMEOUT_SECONDS, context=self.context
            ) as response:
                content: JsonObject = json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise NotFound(path) from error
            raise Unavailable(f"the API answers {error.code}") from error
        except OSError as error:
            raise Unavailable(f"the API does not answer: {error}") from error
        return content

    def items(self, path: str) -> list[JsonObject]:
        """Read a list; empty when its kind is not served."""
        try:
            found: list[JsonObject] = self.get(path)["items"]
        except NotFound:
            return []
        return found
