"""Take the Secrets of a backup from the Job that reads them, and make the QuayRegistry again.

The Job proves itself with a word that only it and those who may read Secrets in its namespace
know. Everything is created and nothing replaced: what is there already must be the same.
"""

import base64
import json
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hatoba.kernel.errors import Conflict, Forbidden, InvalidInput
from hatoba.kernel.ids import same_secret
from hatoba.kernel.json import JsonObject
from hatoba.operator import keys, names
from hatoba.operator.backup.jobs import BUNDLE, MANAGED_KEYS, REGISTRY_NOTE
from hatoba.operator.backup.restores import TOKEN_KEY, token_secret
from hatoba.operator.backup.specs import read_spec
from hatoba.operator.backup.types import RestoreSpec
from hatoba.operator.kubernetes import Cluster

_FRESH: Final = (
    keys.DB_URI,
    keys.DB_ROOT_PASSWORD,
    keys.CLAIR_DB_PASSWORD,
    keys.CLAIR_DB_ROOT_PASSWORD,
)
"""Keys of databases that are made anew: nothing that is restored depends on them, and the host in
DB_URI is named after the registry."""


class Handover(BaseModel):
    """The body that the Job sends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = Field(min_length=1)
    restore: str = Field(min_length=1)
    backup: str = Field(min_length=1)
    files: dict[str, str]
    """The attached files of the backup, base64."""


class Receiver:
    """Makes what a restored registry comes from."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def receive(self, body: bytes, *, authorization: str) -> str:
        """Make Secrets and QuayRegistry; return the registry's name. Idempotent.

        Raises:
            InvalidInput: the body is not valid, or the backup was not made by an operator.
            Forbidden: not the word of this restoration's Job.
            Conflict: something of the same name is there already, and not the same.
        """
        try:
            given = Handover.model_validate_json(body)
            files = {name: base64.b64decode(text) for name, text in given.files.items()}
        except (ValidationError, ValueError) as error:
            raise InvalidInput("not a hand-over of a backup") from error
        restore = await self._authorized(given, authorization)
        spec = read_spec(RestoreSpec, restore)
        note, stored, bundle = _contents(files)
        wanted = spec.configBundleSecret or str(note["spec"].get("configBundleSecret") or "")
        await self._make_keys(spec.registryName, given.namespace, stored)
        if spec.configBundleSecret is None:
            secret = _secret(wanted, given.namespace, bundle)
            await self._make("Secret", secret)
        registry = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {
                "name": spec.registryName,
                "namespace": given.namespace,
                "annotations": {
                    **note["annotations"],
                    names.RESTORE_ANNOTATION: f"{given.restore}/{given.backup}",
                },
            },
            "spec": {**note["spec"], "configBundleSecret": wanted},
        }
        await self._make(names.KIND, registry)
        return spec.registryName

    async def _authorized(self, given: Handover, authorization: str) -> JsonObject:
        namespace = given.namespace
        secret = await self._cluster.find(
            "Secret", token_secret(given.restore), namespace=namespace
        )
        restore = await self._cluster.find(names.RESTORE_KIND, given.restore, namespace=namespace)
        expected = keys.decode(secret).get(TOKEN_KEY, "") if secret is not None else ""
        said = authorization.removeprefix("Bearer ")
        if restore is None or not expected or not same_secret(said, expected):
            raise Forbidden(f"this is not the word of {namespace}/{given.restore}")
        return restore

    async def _make_keys(self, registry: str, namespace: str, stored: Mapping[str, bytes]) -> None:
        kept = {key: value for key, value in stored.items() if key not in _FRESH}
        secret = _secret(keys.secret_name(registry), namespace, kept)
        secret["metadata"]["labels"] = {names.REGISTRY_LABEL: registry}
        await self._make("Secret", secret)

    async def _make(self, kind: str, obj: JsonObject) -> None:
        """Create an object; one that is there must be the same."""
        try:
            await self._cluster.create(obj)
        except Conflict:
            metadata = obj["metadata"]
            there = await self._cluster.get(kind, metadata["name"], namespace=metadata["namespace"])
            if _is_same(there, obj):
                return
            raise Conflict(
                f"{kind} {metadata['name']} is in {metadata['namespace']} already, with other "
                "content than the backup's: restore into an empty namespace"
            ) from None


def _is_same(there: JsonObject, wanted: JsonObject) -> bool:
    if wanted["kind"] == names.KIND:
        found = (there["metadata"].get("annotations") or {}).get(names.RESTORE_ANNOTATION)
        return bool(found == wanted["metadata"]["annotations"][names.RESTORE_ANNOTATION])
    # The operator may have added to the keys meanwhile.
    return bool(wanted["data"].items() <= (there.get("data") or {}).items())


def _contents(
    files: Mapping[str, bytes],
) -> tuple[JsonObject, Mapping[str, bytes], Mapping[str, bytes]]:
    """Return the QuayRegistry, its keys and its bundle."""
    parts: dict[str, dict[str, bytes]] = {}
    for name, content in files.items():
        top, _, rest = name.partition("/")
        parts.setdefault(top, {})[rest] = content
    try:
        note = json.loads(parts["notes"][REGISTRY_NOTE])
        if not isinstance(note["spec"], dict) or not isinstance(note["annotations"], dict):
            raise InvalidInput("the backup's QuayRegistry cannot be read")
        return note, parts[MANAGED_KEYS], parts[BUNDLE]
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidInput(
            "the backup was not made by a QuayRegistryBackup: it holds no QuayRegistry; restore "
            "it with `hatoba backup restore`"
        ) from error


def _secret(name: str, namespace: str, data: Mapping[str, bytes]) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "namespace": namespace},
        "data": {key: base64.b64encode(value).decode() for key, value in sorted(data.items())},
    }
