"""Rules of CustomResourceDefinitions."""

import re
from typing import Any, Final

from typing_extensions import override

from hatoba.cluster.api.documents import reach
from hatoba.cluster.api.metadata import invalid, required, unsupported
from hatoba.cluster.api.status import Cause
from hatoba.cluster.api.strategy import Strategy
from hatoba.cluster.formats.definitions import structural_errors
from hatoba.kernel.json import JsonObject

CLEANUP: Final = "customresourcecleanup.apiextensions.k8s.io"
_APPROVAL: Final = "api-approved.kubernetes.io"
_COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")
_PATH: Final = re.compile(r"\.[A-Za-z_].*|\.")


class DefinitionRules(Strategy):
    """A CRD is served when its names are accepted, and cleaned up before it goes."""

    @override
    def default(self, obj: JsonObject) -> None:
        spec = obj.setdefault("spec", {})
        names = spec.setdefault("names", {})
        kind = names.get("kind", "")
        names.setdefault("singular", kind.lower())
        names.setdefault("listKind", f"{kind}List")
        spec.setdefault("conversion", {"strategy": "None"})
        if spec.get("preserveUnknownFields") is False:
            del spec["preserveUnknownFields"]

    @override
    def prepare_create(self, obj: JsonObject) -> None:
        super().prepare_create(obj)
        obj["status"] = {
            "conditions": None,
            "acceptedNames": {"plural": "", "kind": ""},
            "storedVersions": [v["name"] for v in _versions(obj) if v.get("storage")],
        }

    @override
    def begins_deletion(self, obj: JsonObject) -> bool:
        finalizers = obj["metadata"].setdefault("finalizers", [])
        if CLEANUP not in finalizers:
            finalizers.append(CLEANUP)
        return True

    @override
    def validate(self, obj: JsonObject) -> list[Cause]:
        spec = obj["spec"]
        causes = _validate_names(obj)
        if spec.get("scope") not in ("Cluster", "Namespaced"):
            causes.append(
                unsupported("spec.scope", spec.get("scope", ""), ("Cluster", "Namespaced"))
            )
        if spec.get("preserveUnknownFields"):
            causes.append(
                invalid(
                    "spec.preserveUnknownFields",
                    "true",
                    "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in"
                    " spec.versions[*].schema instead",
                )
            )
        return causes + _validate_versions(spec)

    @override
    def validate_update(self, new: JsonObject, old: JsonObject) -> list[Cause]:
        causes = []
        if _is_established(old):
            for path in (("scope",), ("names", "kind"), ("names", "plural")):
                value, former = (reach(obj, "spec", *path) for obj in (new, old))
                if value != former:
                    causes.append(
                        invalid(f"spec.{'.'.join(path)}", f'"{value}"', "field is immutable")
                    )
        return causes + self.validate(new)


def _versions(obj: JsonObject) -> list[JsonObject]:
    found: list[JsonObject] = reach(obj, "spec", "versions") or []
    return found


def _is_established(obj: JsonObject) -> bool:
    conditions: list[JsonObject] = reach(obj, "status", "conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def _validate_names(obj: JsonObject) -> list[Cause]:
    spec, metadata = obj["spec"], obj["metadata"]
    names = spec["names"]
    causes = []
    if metadata["name"] != f"{names.get('plural', '')}.{spec.get('group', '')}":
        causes.append(
            invalid(
                "metadata.name",
                f'"{metadata["name"]}"',
                'must be spec.names.plural+"."+spec.group',
            )
        )
    group: str = spec.get("group", "")
    protected = group.endswith((".k8s.io", ".kubernetes.io"))
    if protected and _APPROVAL not in metadata.get("annotations", {}):
        causes.append(
            required(
                f"metadata.annotations[{_APPROVAL}]",
                f'protected groups must have approval annotation "{_APPROVAL}", see'
                " https://github.com/kubernetes/enhancements/pull/1111",
            )
        )
    causes += [required(f"spec.names.{key}") for key in ("plural", "kind") if not names.get(key)]
    return causes


def _validate_versions(spec: JsonObject) -> list[Cause]:
    versions: list[JsonObject] = spec.get("versions") or []
    causes: list[Cause] = []
    if sum(bool(version.get("storage")) for version in versions) != 1:
        causes += [
            invalid(
                "spec.versions",
                f"[]apiextensions.CustomResourceDefinitionVersion{{{_go_versions(versions)}}}",
                "must have exactly one version marked as storage version",
            ),
            invalid(
                "status.storedVersions",
                "[]string(nil)",
                "must have at least one stored version",
            ),
        ]
    single = len(versions) == 1
    for index, version in enumerate(versions):
        field = "spec" if single else f"spec.versions[{index}]"
        schema = reach(version, "schema", "openAPIV3Schema")
        if schema is None:
            causes.append(
                required(f"spec.versions[{index}].schema.openAPIV3Schema", "schemas are required")
            )
        elif single:
            causes += structural_errors(schema, path="spec.validation.openAPIV3Schema")
        else:
            path = f"spec.versions[{index}].schema.openAPIV3Schema"
            causes += structural_errors(schema, path=path)
        causes += _validate_columns(version.get("additionalPrinterColumns") or [], field)
    return causes


def _validate_columns(columns: list[JsonObject], field: str) -> list[Cause]:
    causes = []
    for index, column in enumerate(columns):
        here = f"{field}.additionalPrinterColumns[{index}]"
        if column.get("type") not in _COLUMN_TYPES:
            causes.append(
                invalid(
                    f"{here}.type",
                    f'"{column.get("type", "")}"',
                    f"must be one of {','.join(_COLUMN_TYPES)}",
                )
            )
        path = column.get("jsonPath", "")
        if not path.startswith("."):
            causes.append(
                invalid(
                    f"{here}.JSONPath", f'"{path}"', "must be a simple json path starting with ."
                )
            )
    return causes


def _go_versions(versions: list[JsonObject]) -> str:
    """Print versions as Go's `%#v` does, for the one message that needs it."""
    return ", ".join(
        f'apiextensions.CustomResourceDefinitionVersion{{Name:"{version.get("name", "")}",'
        f" Served:{_go(version.get('served'))}, Storage:{_go(version.get('storage'))},"
        f" Deprecated:{_go(version.get('deprecated'))}, DeprecationWarning:(*string)(nil),"
        " Schema:(*apiextensions.CustomResourceValidation)(nil),"
        " Subresources:(*apiextensions.CustomResourceSubresources)(nil),"
        " AdditionalPrinterColumns:[]apiextensions.CustomResourceColumnDefinition(nil),"
        " SelectableFields:[]apiextensions.SelectableField(nil)}"
        for version in versions
    )


def _go(value: Any) -> str:
    return "true" if value else "false"
