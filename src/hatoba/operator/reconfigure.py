"""Take a configuration from the config editor and make it the registry's next bundle.

The editor proves itself with the credentials of its own registry, which only its pods and those
who may read Secrets in that namespace know. Nothing is changed in the old bundle: the registry is
pointed to a new one, so that going back is one edit.

Source: Quay operator 3.6.2, `POST :7071/reconfigure`.
"""

import base64
import binascii
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hatoba.config.components import COMPONENT_KEYS, contains_configuration
from hatoba.config.loader import ConfigurationInvalid, parse_yaml
from hatoba.config.validation import validate_mapping
from hatoba.kernel.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from hatoba.kernel.ids import same_secret
from hatoba.kernel.json import JsonObject
from hatoba.operator import keys, names
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.model import Component
from hatoba.operator.observation import components_of
from hatoba.operator.render import EDITOR_USER
from hatoba.operator.texts import dump_yaml
from hatoba.operator.tlsprofiles import PROFILE_KEYS

_KEPT: Final = frozenset({"horizontalpodautoscaler", "monitoring", "route", *names.LATER_KINDS})
"""Kinds of which a configuration says nothing: whose job they are stays as it is."""
_CA_DIRECTORY: Final = "extra_ca_certs/"


class Reconfiguration(BaseModel):
    """The body that a config editor sends."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    config: JsonObject = Field(alias="config.yaml")
    certs: dict[str, str] = Field(default_factory=dict)
    namespace: str = Field(min_length=1)
    registry: str = Field(alias="quayRegistryName", min_length=1)


class Reconfigurer:
    """Writes new bundles."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def reconfigure(self, body: bytes, *, authorization: str) -> str:
        """Store the configuration and point the registry to it; return the bundle's name.

        Raises:
            InvalidInput: the body or the configuration in it is not valid.
            Unauthenticated: no credentials.
            Forbidden: not the credentials of this registry's editor.
        """
        user, password = _basic(authorization)
        try:
            wanted = Reconfiguration.model_validate_json(body)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
                for fault in error.errors(include_url=False, include_input=False)
            )
            raise InvalidInput(f"not a reconfiguration: {faults}") from error
        stored = await self._authorize(wanted, user, password)
        registry = await self._cluster.get(names.KIND, wanted.registry, namespace=wanted.namespace)
        return await self._store(registry, wanted, stored)

    async def _authorize(
        self, wanted: Reconfiguration, user: str, password: str
    ) -> Mapping[str, str]:
        name = keys.secret_name(wanted.registry)
        secret = await self._cluster.find("Secret", name, namespace=wanted.namespace)
        stored = keys.decode(secret) if secret is not None else {}
        expected = stored.get(keys.EDITOR_PASSWORD, "")
        if not expected or user != EDITOR_USER or not same_secret(password, expected):
            raise Forbidden(
                f"these are not the config editor's credentials of {wanted.namespace}/"
                f"{wanted.registry}"
            )
        return stored

    async def _store(
        self, registry: JsonObject, wanted: Reconfiguration, stored: Mapping[str, str]
    ) -> str:
        metadata = registry["metadata"]
        listed = components_of(registry)
        files = _files(wanted.certs)
        running = await self._running_configuration(registry)
        if faults := validate_mapping(running | wanted.config):
            raise InvalidInput("; ".join(str(fault) for fault in faults))
        profile = {} if await self._names_tls(registry) else _profile(running)
        config = users_own(
            wanted.config, running=running, listed=listed, stored=stored, profile=profile
        )
        components = inferred_components(listed, config=config, files=frozenset(files))
        bundle = await self._cluster.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "Opaque",
                "metadata": {
                    "generateName": f"{metadata['name']}-quay-config-bundle-",
                    "namespace": metadata["namespace"],
                    "labels": {"quay-registry": metadata["name"]},
                },
                "data": {
                    key: base64.b64encode(value).decode()
                    for key, value in {**files, "config.yaml": dump_yaml(config)}.items()
                },
            }
        )
        name = str(bundle["metadata"]["name"])
        patch = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "spec": {
                "configBundleSecret": name,
                "components": [entry.wire for entry in components],
            },
        }
        await self._cluster.merge(
            names.KIND, metadata["name"], patch, namespace=metadata["namespace"]
        )
        return name

    async def _names_tls(self, registry: JsonObject) -> bool:
        """Tell whether the bundle of now says what of TLS is spoken; one that is broken may."""
        name = str((registry.get("spec") or {}).get("configBundleSecret") or "")
        found = await self._cluster.find(
            "Secret", name, namespace=registry["metadata"]["namespace"]
        )
        encoded = ((found or {}).get("data") or {}).get("config.yaml") or ""
        try:
            return not PROFILE_KEYS.isdisjoint(parse_yaml(base64.b64decode(encoded)))
        except ConfigurationInvalid:
            return True

    async def _running_configuration(self, registry: JsonObject) -> JsonObject:
        metadata = registry["metadata"]
        deployment = await self._cluster.find(
            "Deployment", f"{metadata['name']}-quay-app", namespace=metadata["namespace"]
        )
        if deployment is None:
            return {}
        environment = deployment["spec"]["template"]["spec"]["containers"][0].get("env") or []
        name = next(
            (entry["value"] for entry in environment if entry["name"] == "QE_K8S_CONFIG_SECRET"), ""
        )
        try:
            secret = await self._cluster.get("Secret", name, namespace=metadata["namespace"])
        except NotFound:
            return {}
        return parse_yaml(base64.b64decode(secret["data"]["config.yaml"]))


def users_own(
    config: JsonObject,
    *,
    running: JsonObject,
    listed: tuple[Component, ...],
    stored: Mapping[str, str],
    profile: JsonObject,
) -> JsonObject:
    """Leave out what the operator had put in itself and the editor merely sent back.

    `profile` is what it had put in of the cluster's TLS profile. Whoever changed a part of it has
    seen the rest, and gets both.
    """
    is_followed = profile and all(config.get(key) == value for key, value in profile.items())
    managed = [entry.kind for entry in listed if entry.managed]
    theirs = {key for kind in managed for key in COMPONENT_KEYS.get(kind, frozenset())}
    generated = (keys.SECRET_KEY, keys.DATABASE_SECRET_KEY, keys.SCANNER_PSK)
    return {
        key: value
        for key, value in config.items()
        if not (key in theirs and key in running and value == running[key])
        and not (key in generated and value == stored.get(key))
        and not (is_followed and key in profile)
    }


def _profile(running: JsonObject) -> JsonObject:
    return {key: value for key, value in running.items() if key in PROFILE_KEYS}


def inferred_components(
    listed: tuple[Component, ...], *, config: JsonObject, files: frozenset[str]
) -> tuple[Component, ...]:
    """Decide whose job each component is, by what the configuration says about it."""
    return tuple(
        entry
        if entry.kind in _KEPT or entry.secret
        else _decided(entry, managed=_managed(entry, config, files))
        for entry in listed
    )


def _decided(entry: Component, *, managed: bool) -> Component:
    """Return the entry; what is not managed has no overrides."""
    return Component(kind=entry.kind, managed=managed, overrides=entry.overrides if managed else {})


def _managed(entry: Component, config: JsonObject, files: frozenset[str]) -> bool:
    if entry.kind == "mirror":
        # Without the key nothing was said about it.
        return bool(config.get("FEATURE_REPO_MIRROR", entry.managed))
    if entry.kind in COMPONENT_KEYS:
        configured = contains_configuration(entry.kind, config, files)
        required = entry.kind in names.REQUIRED_KINDS
        return not configured and (entry.managed or required)
    return entry.managed


def _files(certs: Mapping[str, str]) -> dict[str, bytes]:
    """Return certificates by the key that they get in the bundle."""
    found = {}
    for path, encoded in certs.items():
        if path.startswith(_CA_DIRECTORY):
            key = f"extra_ca_cert_{PurePosixPath(path).name}"
        else:
            key = PurePosixPath(path).name
        try:
            found[key] = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise InvalidInput(f"certs: {path} is not base64") from error
    return found


def _basic(authorization: str) -> tuple[str, str]:
    """Read the header of HTTP Basic (RFC 7617)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise Unauthenticated("the config editor's credentials are needed")
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Unauthenticated("the credentials are not readable") from error
    return user, password
