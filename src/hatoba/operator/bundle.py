"""Decode the Secrets that hold the user's configuration, and refuse what cannot be read. Pure."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hatoba.config.loader import ConfigurationInvalid, parse_yaml
from hatoba.kernel.json import JsonObject
from hatoba.operator.model import InputRefused, Reason, RolloutBlocked
from hatoba.operator.observation import Observation

CONFIG_KEY: Final = "config.yaml"


TLS_TYPE: Final = "kubernetes.io/tls"
PAIR: Final = {"ssl.cert": "tls.crt", "ssl.key": "tls.key"}
"""Key of a bundle -> the same in a Secret for TLS."""


class TlsSecretUnusable(RolloutBlocked):
    """The Secret that `tls` names cannot give the certificate."""

    def __init__(
        self, fact: str, *, step: str, shown: str = "External TLS secret not usable"
    ) -> None:
        super().__init__(Reason.CONFIG_INVALID, f"external TLS secret error: {fact}", step=step)
        self.shown = shown
        """What the component's condition says."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Bundle:
    """The user's configuration, decoded."""

    name: str
    config: JsonObject
    files: Mapping[str, bytes] = field(repr=False)


def read_bundle(observation: Observation) -> Bundle:
    """Decode the configuration bundle.

    Raises:
        RolloutBlocked: it does not exist, or its config.yaml is not YAML.
    """
    if observation.bundle is None:
        name, namespace = observation.bundle_name, observation.registry["metadata"]["namespace"]
        raise InputRefused(
            Reason.CONFIG_INVALID,
            f"unable to retrieve referenced `configBundleSecret`: {name}, "
            f"error: {observation.bundle_error.rstrip('.')}",
            step=f"create the Secret {name} in namespace {namespace}, or name another one in "
            "spec.configBundleSecret",
        )
    try:
        files = {
            key: base64.b64decode(value, validate=True)
            for key, value in (observation.bundle.get("data") or {}).items()
        }
        config = parse_yaml(files.pop(CONFIG_KEY, b""))
    except (ConfigurationInvalid, binascii.Error) as error:
        raise InputRefused(
            Reason.CONFIG_INVALID,
            f"could not check for build manager support: {str(error).rstrip('.')}",
            step=f"correct the key config.yaml of Secret {observation.bundle_name}",
        ) from error
    _check_types(config, name=observation.bundle_name)
    files |= _external_pair(observation, files)
    return Bundle(name=observation.bundle_name, config=config, files=files)


def _external_pair(observation: Observation, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the pair of the Secret that `tls` names, under the keys of a pair in the bundle.

    Raises:
        TlsSecretUnusable: there is none in it, or another one in the bundle.
    """
    name = observation.tls_secret_name
    if not name:
        return {}
    for key in PAIR:
        if key in files:
            raise TlsSecretUnusable(
                f"tls component secretRef and {key} in configBundleSecret are mutually exclusive",
                step=f"take {key} out of Secret {observation.bundle_name}, or secretRef out of "
                "the entry of tls in spec.components",
            )
    secret = observation.tls_secret
    if secret is None:
        raise TlsSecretUnusable(
            f'unable to get TLS secret "{name}": {observation.tls_error.rstrip(".")}',
            step=f"create it in namespace {observation.registry['metadata']['namespace']}, or name "
            "another one in secretRef of tls",
            shown="External TLS secret not found",
        )
    kind = str(secret.get("type") or "Opaque")
    if kind != TLS_TYPE:
        raise TlsSecretUnusable(
            f'TLS secret "{name}" must be type "{TLS_TYPE}", got "{kind}"',
            step="make it anew with kubectl create secret tls",
        )
    found = {}
    for key, theirs in PAIR.items():
        content = (secret.get("data") or {}).get(theirs) or ""
        found[key] = base64.b64decode(content)
        if not found[key].strip():
            raise TlsSecretUnusable(
                f'TLS secret "{name}" missing or empty {theirs}',
                step=f"put a certificate and its key into Secret {name}",
            )
    return found


def _check_types(config: JsonObject, *, name: str) -> None:
    """Refuse wrong types in the keys that the operator itself reads."""
    for key, wanted, word in (
        ("SERVER_HOSTNAME", str, "string"),
        ("BUILDMAN_HOSTNAME", str, "string"),
        ("PREFERRED_URL_SCHEME", str, "string"),
        ("EXTERNAL_TLS_TERMINATION", bool, "bool"),
    ):
        if key in config and not isinstance(config[key], wanted):
            raise InputRefused(
                Reason.CONFIG_INVALID,
                f"{key} must be of type {word}",
                step=f"correct it in config.yaml of Secret {name}",
            )
