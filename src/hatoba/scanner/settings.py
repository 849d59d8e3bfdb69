"""Read Clair's configuration file, the one place where the scanner's settings come from.

Source: Clair v4 "Config Reference". Keys that Clair knows and that mean nothing here are
accepted; `auth.keyserver`, which Clair removed, is refused as Clair refuses it.
"""

import base64
import binascii
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from hatoba.config.loader import environment
from hatoba.kernel.errors import InvalidInput
from hatoba.serving.listeners import Listener

DEFAULT_PATH: Final = Path("/clair/config.yaml")
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class ScannerMisconfigured(InvalidInput):
    """The configuration file cannot be used."""


def _duration(value: object) -> object:
    """Read Go's `1h30m`; other values are left to pydantic."""
    if not isinstance(value, str):
        return value
    if _DURATION.sub("", value) or not value:
        raise ValueError("must be a duration such as 30s, 10m or 6h")
    return timedelta(
        seconds=sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(value))
    )


Duration = Annotated[timedelta, BeforeValidator(_duration)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class IndexerSettings(_Section):
    """What takes images apart."""

    connstring: str
    layer_scan_concurrency: int = Field(default=10, ge=1, le=100)
    index_report_request_concurrency: int = Field(default=0, ge=0)
    """Index requests worked on at a time in one process; 0 is no bound. More are answered 429."""
    migrations: bool = False


class MatcherSettings(_Section):
    """What compares packages with advisories."""

    connstring: str
    migrations: bool = False
    period: Duration = timedelta(hours=6)
    """Time between two updates of the advisories."""
    disable_updaters: bool = False
    update_retention: int = Field(default=10, ge=2)
    """Update operations kept of each updater."""
    cache_age: Duration = timedelta(0)
    """How long clients may keep a vulnerability report."""


class PskSettings(_Section):
    """The key shared with the registry."""

    key: bytes = Field(repr=False)
    iss: list[str] = Field(min_length=1)

    @field_validator("key", mode="before")
    @classmethod
    def _decode(cls, value: object) -> bytes:
        try:
            key = base64.b64decode(value if isinstance(value, str) else "", validate=True)
        except binascii.Error as error:
            raise ValueError("must be base64") from error
        if not key:
            raise ValueError("must be base64 of at least one byte")
        return key


class AuthSettings(_Section):
    """Who may ask; without a PSK everybody may, as with Clair."""

    psk: PskSettings | None = None
    keyserver: Any = None

    @field_validator("keyserver")
    @classmethod
    def _is_removed(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("was removed; use psk")
        return value


class UpdaterSettings(_Section):
    """Where advisories come from."""

    sets: list[str] | None = None
    """Names of updater sets; None is all that exist."""
    config: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By set: `url`, `files` (paths read instead of the URL), `releases`."""


class ScannerSettings(_Section):
    """A whole configuration file."""

    http_listen_addr: str = ":6060"
    introspection_addr: str = ":8089"
    log_level: str = "info"
    indexer: IndexerSettings
    matcher: MatcherSettings
    auth: AuthSettings = AuthSettings()
    updaters: UpdaterSettings = UpdaterSettings()

    def listener(self) -> Listener:
        """Return where the API is served."""
        return _listener(self.http_listen_addr)

    def introspection(self) -> Listener:
        """Return where health and metrics are served."""
        return _listener(self.introspection_addr)


def configuration_path() -> Path:
    """Return where this process's configuration lies (`CLAIR_CONF`)."""
    return Path(environment().get("CLAIR_CONF", str(DEFAULT_PATH)))


def parse_settings(text: str) -> ScannerSettings:
    """Read the text of a configuration file.

    Raises:
        ScannerMisconfigured: not YAML, or keys missing or wrong; says which.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScannerMisconfigured("the configuration is not YAML") from error
    try:
        return ScannerSettings.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise ScannerMisconfigured(f"the configuration is not valid: {faults}") from error


def load_settings(path: Path) -> ScannerSettings:
    """Read a configuration file.

    Raises:
        ScannerMisconfigured: it cannot be read or used.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ScannerMisconfigured(f"{path} cannot be read: {error}") from error
    mode = environment().get("CLAIR_MODE", "combo")
    if mode != "combo":
        raise ScannerMisconfigured(f"CLAIR_MODE {mode!r} is not supported, only combo")
    return parse_settings(text)


def _listener(address: str) -> Listener:
    """Read Go's `host:port`; `HATOBA_BIND` names the host where the file names none."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise ScannerMisconfigured(f"{address!r} is not an address to listen on")
    bound = host.strip("[]") or environment().get("HATOBA_BIND") or "0.0.0.0"  # noqa: S104
    return Listener(host=bound, port=int(port))
