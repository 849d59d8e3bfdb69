"""Generate the CustomResourceDefinitions from their types.

`python -m hatoba.operator.definition PLURAL` prints one; a test compares that with deploy/crd.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import yaml
from pydantic import BaseModel
from typing_extensions import override

from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.operator import names
from hatoba.operator.backup.types import QuayRegistryBackup, QuayRegistryRestore
from hatoba.operator.types import QuayRegistry

_RULES = (
    (
        f"size(self.metadata.name) <= {names.MAXIMUM_NAME_LENGTH}",
        f"the name is longer than {names.MAXIMUM_NAME_LENGTH} characters",
    ),
)
"""What one member's schema cannot say, in CEL."""
_ENTRY_RULES: Final = (
    ("self.managed || !has(self.overrides)", "cannot set overrides on unmanaged component"),
    ("!self.managed || !has(self.secretRef)", "secretRef cannot be set on a managed component"),
    ("!has(self.secretRef) || size(self.secretRef.name) > 0", "secretRef.name must not be empty"),
)
"""The same about one entry of spec.components, in the words of Quay's definition."""
_ONE_PLACE = (
    "has(self.spec.vault.claimName) != has(self.spec.vault.s3)",
    "spec.vault names exactly one of claimName and s3",
)
_UNCHANGED = ("self.spec == oldSelf.spec", "the spec of a restoration cannot be changed")
_SHORT = (
    f"size(self.metadata.name) <= {names.MAXIMUM_BACKUP_NAME_LENGTH}",
    f"the name is longer than {names.MAXIMUM_BACKUP_NAME_LENGTH} characters",
)
_AGE = ("Age", "date", ".metadata.creationTimestamp")


@dataclass(slots=True, frozen=True, kw_only=True)
class Defined:
    """A kind of resource."""

    model: type[BaseModel]
    plural: str
    columns: tuple[tuple[str, str, str], ...]
    rules: tuple[tuple[str, str], ...]

    @property
    def kind(self) -> str:
        """The name of the kind."""
        return self.model.__name__


KINDS: Final = (
    Defined(
        model=QuayRegistry,
        plural="quayregistries",
        columns=(
            ("Version", "string", ".status.currentVersion"),
            ("Endpoint", "string", ".status.registryEndpoint"),
            ("Available", "string", '.status.conditions[?(@.type=="Available")].status'),
            _AGE,
        ),
        rules=_RULES,
    ),
    Defined(
        model=QuayRegistryBackup,
        plural="quayregistrybackups",
        columns=(
            ("Registry", "string", ".spec.registryName"),
            ("Schedule", "string", ".spec.schedule"),
            ("Complete", "string", '.status.conditions[?(@.type=="Complete")].status'),
            ("Last", "date", ".status.lastBackup.finishedAt"),
            _AGE,
        ),
        rules=(_ONE_PLACE, _SHORT),
    ),
    Defined(
        model=QuayRegistryRestore,
        plural="quayregistryrestores",
        columns=(
            ("Registry", "string", ".spec.registryName"),
            ("Backup", "string", ".status.backup"),
            ("Complete", "string", '.status.conditions[?(@.type=="Complete")].status'),
            _AGE,
        ),
        rules=(_ONE_PLACE, _SHORT, _UNCHANGED),
    ),
)


def definition(of: Defined = KINDS[0]) -> JsonObject:
    """Return the CustomResourceDefinition of a kind."""
    schema = of.model.model_json_schema()
    structural = _structural(schema, schema.get("$defs", {}))
    structural["properties"] |= {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    }
    structural["x-kubernetes-validations"] = _validations(of.rules)
    if of.model is QuayRegistry:
        entry = structural["properties"]["spec"]["properties"]["components"]["items"]
        entry["x-kubernetes-validations"] = _validations(_ENTRY_RULES)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{of.plural}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": of.kind,
                "listKind": f"{of.kind}List",
                "plural": of.plural,
                "singular": of.kind.lower(),
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": structural},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path}
                        for name, kind, path in of.columns
                    ],
                }
            ],
        },
    }


def _validations(rules: Iterable[tuple[str, str]]) -> list[JsonObject]:
    return [{"rule": rule, "message": message} for rule, message in rules]


def _structural(schema: JsonObject, definitions: JsonObject) -> JsonObject:
    """Turn pydantic's JSON schema into a structural one: no references, unions or titles."""
    if "$ref" in schema:
        target = definitions[schema["$ref"].rsplit("/", 1)[-1]]
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return _structural({**target, **rest}, definitions)
    if "anyOf" in schema:
        chosen = next(option for option in schema["anyOf"] if option.get("type") != "null")
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        return _structural({**chosen, **rest}, definitions)
    found: JsonObject = {}
    for key, value in schema.items():
        if key not in ("title", "default", "$defs") and value is not False:
            found[key] = _part(key, value, definitions)
    return dict(sorted(found.items()))


def _part(key: str, value: JsonValue, definitions: JsonObject) -> JsonValue:
    if key == "properties":
        return {name: _structural(part, definitions) for name, part in sorted(value.items())}
    if key in ("items", "additionalProperties") and isinstance(value, dict):
        return _structural(value, definitions)
    if key == "description":
        return " ".join(value.split())
    return value


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice: people read this file."""

    @override
    def ignore_aliases(self, data: object) -> bool:
        return True


def main() -> None:
    """Print the definition of the kind with the given plural, or of QuayRegistry, as YAML."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else KINDS[0].plural
    (found,) = (one for one in KINDS if one.plural == wanted)
    text = yaml.dump(definition(found), Dumper=_Plain, sort_keys=False, width=100)
    module = found.model.__module__
    sys.stdout.write(f"# Generated from {module}; do not edit.\n" + text)


if __name__ == "__main__":
    main()
