"""Generate the CustomResourceDefinition of QuayRegistry from its types.

`python -m hatoba.operator.definition` prints it; a test compares that with deploy/crd.
"""

import sys
from collections.abc import Iterable
from typing import Final

import yaml
from typing_extensions import override

from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.operator import names
from hatoba.operator.types import QuayRegistry

_COLUMNS = (
    ("Version", "string", ".status.currentVersion"),
    ("Endpoint", "string", ".status.registryEndpoint"),
    ("Available", "string", '.status.conditions[?(@.type=="Available")].status'),
    ("Age", "date", ".metadata.creationTimestamp"),
)
_RULES = (
    (
        f"size(self.metadata.name) <= {names.MAXIMUM_NAME_LENGTH}",
        f"the name is longer than {names.MAXIMUM_NAME_LENGTH} characters",
    ),
)
"""What one member's schema cannot say, in CEL."""
_ENTRY_RULES: Final = (
    ("self.managed || !has(self.overrides)", "cannot set overrides on unmanaged component"),
)
"""The same about one entry of spec.components, in the words of Quay's definition."""


def definition() -> JsonObject:
    """Return the CustomResourceDefinition."""
    schema = QuayRegistry.model_json_schema()
    structural = _structural(schema, schema.get("$defs", {}))
    structural["properties"] |= {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    }
    structural["x-kubernetes-validations"] = _validations(_RULES)
    entry = structural["properties"]["spec"]["properties"]["components"]["items"]
    entry["x-kubernetes-validations"] = _validations(_ENTRY_RULES)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"quayregistries.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": "quayregistries",
                "singular": "quayregistry",
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
                        for name, kind, path in _COLUMNS
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
    """Print the definition as YAML."""
    text = yaml.dump(definition(), Dumper=_Plain, sort_keys=False, width=100)
    sys.stdout.write("# Generated from hatoba.operator.types; do not edit.\n" + text)


if __name__ == "__main__":
    main()
