"""Decode the Secret that holds the user's configuration, and refuse what cannot be read. Pure."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hatoba.config.loader import ConfigurationInvalid, parse_yaml
from hatoba.kernel.json import JsonObject
from hatoba.operator.model import Reason, RolloutBlocked
from hatoba.operator.observation import Observation

CONFIG_KEY: Final = "config.yaml"


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
        raise RolloutBlocked(
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
        raise RolloutBlocked(
            Reason.CONFIG_INVALID,
            f"could not check for build manager support: {str(error).rstrip('.')}",
            step=f"correct the key config.yaml of Secret {observation.bundle_name}",
        ) from error
    _check_types(config, name=observation.bundle_name)
    return Bundle(name=observation.bundle_name, config=config, files=files)


def _check_types(config: JsonObject, *, name: str) -> None:
    """Refuse wrong types in the keys that the operator itself reads."""
    for key, wanted, word in (
        ("SERVER_HOSTNAME", str, "string"),
        ("BUILDMAN_HOSTNAME", str, "string"),
        ("PREFERRED_URL_SCHEME", str, "string"),
        ("EXTERNAL_TLS_TERMINATION", bool, "bool"),
    ):
        if key in config and not isinstance(config[key], wanted):
            raise RolloutBlocked(
                Reason.CONFIG_INVALID,
                f"{key} must be of type {word}",
                step=f"correct it in config.yaml of Secret {name}",
            )
