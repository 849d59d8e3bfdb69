"""Hand a configuration over to the operator.

Source: Quay operator 3.6.0 `POST :7071/reconfigure`; the credentials are the editor's own, which
the operator compares with those it made for this registry.
"""

import base64
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from typing_extensions import override

from hatoba.editor.bundle import Bundle
from hatoba.editor.settings import HOST_SETTINGS, USER, Operator, keys_of_groups
from hatoba.net.http import Answer, HttpClient

DEADLINE_SECONDS: Final = 60.0


class Recipient(Protocol):
    """Who takes configurations."""

    async def take(self, bundle: Bundle, *, managed_groups: tuple[str, ...]) -> Answer:
        """Send a configuration; the answer is the recipient's."""


@dataclass(slots=True, frozen=True, kw_only=True)
class OperatorRecipient(Recipient):
    """The operator, over HTTP."""

    operator: Operator
    password: str
    client: HttpClient

    @override
    async def take(self, bundle: Bundle, *, managed_groups: tuple[str, ...]) -> Answer:
        body = without_managed(bundle, managed_groups).wire() | {
            "namespace": self.operator.namespace,
            "quayRegistryName": self.operator.registry,
        }
        credentials = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
        return await self.client.call(
            "POST",
            f"{self.operator.endpoint}/reconfigure",
            headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
            body=msgspec.json.encode(body),
            deadline_seconds=DEADLINE_SECONDS,
        )


def without_managed(bundle: Bundle, groups: tuple[str, ...]) -> Bundle:
    """Leave out what the operator puts in itself; the host name is the user's to choose."""
    theirs = keys_of_groups(tuple(group for group in groups if group != HOST_SETTINGS))
    config = {key: value for key, value in bundle.config.items() if key not in theirs}
    return Bundle(config=config, files=bundle.files)
