"""What the pod's environment says to the editor.

Source: Quay operator 3.6.0, Deployment `<n>-quay-config-editor`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hatoba.config.components import COMPONENT_KEYS, FIELD_GROUPS
from hatoba.config.loader import configuration_directory, environment
from hatoba.kernel.errors import InvalidInput

USER: Final = "quayconfig"
HOST_SETTINGS: Final = "HostSettings"
POD_MARK: Final = "-quay-config-editor"


class EditorMisconfigured(InvalidInput):
    """The environment lacks what the editor needs."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Operator:
    """Where and for which registry configurations are handed over."""

    endpoint: str
    namespace: str
    registry: str


@dataclass(slots=True, frozen=True, kw_only=True)
class EditorSettings:
    """The editor's own settings."""

    directory: Path
    password: str = field(repr=False)
    operator: Operator | None = None
    read_only_groups: tuple[str, ...] = ()

    @property
    def locked_keys(self) -> frozenset[str]:
        """Keys that belong to managed components: shown, not changed."""
        return keys_of_groups(self.read_only_groups)


def keys_of_groups(groups: tuple[str, ...]) -> frozenset[str]:
    """Return the keys of the components that field groups stand for."""
    return frozenset(
        key
        for kind, group in FIELD_GROUPS.items()
        if group in groups
        for key in COMPONENT_KEYS[kind]
    )


def load_settings(variables: Mapping[str, str] | None = None) -> EditorSettings:
    """Read the environment.

    Raises:
        EditorMisconfigured: no password; or an operator, but not whose configuration this is.
    """
    given = environment() if variables is None else variables
    password = given.get("QUAY_PASSWORD", "")
    if not password:
        raise EditorMisconfigured("QUAY_PASSWORD is not set: nobody could be let in")
    groups = given.get("QUAY_CONFIG_READ_ONLY_FIELD_GROUPS", "").split(",")
    return EditorSettings(
        directory=configuration_directory(),
        password=password,
        operator=_operator(given),
        read_only_groups=tuple(group.strip() for group in groups if group.strip()),
    )


def _operator(given: Mapping[str, str]) -> Operator | None:
    endpoint = given.get("QUAY_OPERATOR_ENDPOINT", "").rstrip("/")
    if not endpoint:
        return None
    namespace, pod = given.get("MY_POD_NAMESPACE", ""), given.get("MY_POD_NAME", "")
    registry, mark, _ = pod.rpartition(POD_MARK)
    if not namespace or not mark or not registry:
        raise EditorMisconfigured(
            f"QUAY_OPERATOR_ENDPOINT needs MY_POD_NAMESPACE, and MY_POD_NAME with {POD_MARK} in it"
        )
    if "://" not in endpoint:
        endpoint = f"http://{endpoint}"
    return Operator(endpoint=endpoint, namespace=namespace, registry=registry)
