"""Read a configuration directory; the only module that reads the process's environment.

A configuration directory holds `config.yaml` (Quay's keys, upper case) and certificates beside
it. It is mounted at `/conf/stack`; `QUAYCONF` names another place.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from hatoba.config.schema import QuayConfig
from hatoba.config.tls import TlsRules
from hatoba.config.validation import Finding, validate_mapping
from hatoba.kernel.errors import InvalidInput
from hatoba.kernel.json import JsonObject

DEFAULT_DIRECTORY: Final = Path("/conf/stack")
DEFAULT_DATA_DIRECTORY: Final = Path("/datastorage")
CONFIG_FILE: Final = "config.yaml"
MAXIMUM_FILE_BYTES: Final = 4 << 20
"""A Secret holds 1 MiB at most; more than this is not a configuration."""


class ConfigurationInvalid(InvalidInput):
    """A configuration that cannot be used; `findings` tell why, field by field."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        super().__init__("; ".join(str(finding) for finding in findings))


@dataclass(slots=True, frozen=True, kw_only=True)
class Configuration:
    """A directory that was read and found valid."""

    directory: Path
    settings: QuayConfig
    unused: tuple[str, ...]
    """Keys that were given and that nothing reads, sorted."""

    @property
    def certificate(self) -> tuple[Path, Path] | None:
        """The registry's own TLS certificate and key, if both lie beside config.yaml."""
        pair = self.directory / "ssl.cert", self.directory / "ssl.key"
        return pair if all(path.is_file() for path in pair) else None

    @property
    def tls_rules(self) -> TlsRules:
        """What clients may speak to a listener with that certificate."""
        given = self.settings
        return TlsRules(protocols=given.ssl_protocols, ciphers=given.ssl_ciphers or ())


def environment() -> Mapping[str, str]:
    """Return the process's environment as it is now."""
    return dict(os.environ)  # noqa: TID251 -- this is the one place


def configuration_directory() -> Path:
    """Return where this process's configuration is mounted."""
    return Path(environment().get("QUAYCONF", str(DEFAULT_DIRECTORY)))


def extra_authorities(directory: Path) -> list[Path]:
    """Return the files of a configuration directory whose authorities everything believes.

    Quay: `extra_ca_certs/*` and `extra_ca_cert_*`.
    """
    found = [*directory.glob("extra_ca_certs/*"), *directory.glob("extra_ca_cert_*")]
    return sorted(path for path in found if path.is_file())


def data_directory() -> Path:
    """Return the directory below which relative storage paths lie (`HATOBA_DATA`)."""
    return Path(environment().get("HATOBA_DATA", str(DEFAULT_DATA_DIRECTORY)))


def parse_yaml(text: str | bytes) -> JsonObject:
    """Read the text of a config.yaml.

    Raises:
        ConfigurationInvalid: not YAML, or not a mapping at the top.
    """
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid(
            [Finding(field=CONFIG_FILE, message=_one_line(error))]
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        message = "must be a mapping from keys to values"
        raise ConfigurationInvalid([Finding(field=CONFIG_FILE, message=message)])
    return content


def read_mapping(directory: Path) -> JsonObject:
    """Read `config.yaml` of a directory without judging its keys.

    Raises:
        ConfigurationInvalid: absent, unreadable, too large, not YAML or not a mapping.
    """
    path = directory / CONFIG_FILE
    try:
        if path.stat().st_size > MAXIMUM_FILE_BYTES:
            message = f"is larger than {MAXIMUM_FILE_BYTES} bytes"
            raise ConfigurationInvalid([Finding(field=CONFIG_FILE, message=message)])
        return parse_yaml(path.read_bytes())
    except OSError as error:
        message = f"cannot be read: {error.strerror}: {path}"
        raise ConfigurationInvalid([Finding(field=CONFIG_FILE, message=message)]) from error


def load(directory: Path) -> Configuration:
    """Read and check a configuration directory.

    Raises:
        ConfigurationInvalid: with every finding, not just the first.
    """
    mapping = read_mapping(directory)
    if findings := validate_mapping(mapping):
        raise ConfigurationInvalid(findings)
    return Configuration(
        directory=directory,
        settings=QuayConfig.model_validate(mapping),
        unused=unused_keys(mapping),
    )


def unused_keys(mapping: JsonObject) -> tuple[str, ...]:
    """Return the keys that no part of Hatoba reads, sorted."""
    return tuple(sorted(set(mapping) - QuayConfig.keys()))


def _one_line(error: Exception) -> str:
    return "is not YAML: " + " ".join(str(error).split())
