"""Tables and partial objects: what clients get that ask for columns or for metadata only.

Spec: Kubernetes API "Receiving resources as Tables" and "Metadata-only fetches" (meta.k8s.io/v1).
Columns of built-in kinds are data (`data/columns.json`), those of custom resources come from
`additionalPrinterColumns`.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

from hatoba.cluster.formats import rows, workload_rows
from hatoba.cluster.formats.durations import age
from hatoba.cluster.formats.jsonpath import parse_path
from hatoba.cluster.formats.rows import Cells, Row
from hatoba.kernel.json import JsonObject, JsonValue

Include = Literal["Metadata", "Object", "None"]

_ROWS: Final[dict[str, Row]] = {
    "ConfigMap": rows.config_map,
    "Endpoints": rows.endpoints,
    "Event": rows.event,
    "Namespace": rows.namespace,
    "Node": rows.node,
    "PersistentVolume": rows.volume,
    "PersistentVolumeClaim": rows.claim,
    "Pod": workload_rows.pod,
    "Secret": rows.secret,
    "Service": rows.service,
    "ServiceAccount": rows.service_account,
    "apps/Deployment": workload_rows.deployment,
    "apps/ReplicaSet": workload_rows.replica_set,
    "autoscaling/HorizontalPodAutoscaler": workload_rows.autoscaler,
    "batch/Job": workload_rows.job,
    "coordination.k8s.io/Lease": rows.lease,
    "discovery.k8s.io/EndpointSlice": rows.endpoint_slice,
    "events.k8s.io/Event": rows.event,
    "networking.k8s.io/Ingress": rows.ingress,
    "networking.k8s.io/IngressClass": rows.ingress_class,
    "rbac.authorization.k8s.io/ClusterRoleBinding": rows.binding,
    "rbac.authorization.k8s.io/RoleBinding": rows.binding,
    "scheduling.k8s.io/PriorityClass": rows.priority_class,
    "storage.k8s.io/StorageClass": rows.storage_class,
}
_PLAIN: Final = "*"


@dataclass(slots=True, frozen=True, kw_only=True)
class Printer:
    """How objects of one kind become rows."""

    columns: tuple[JsonObject, ...]
    cells: Row
    conditions: Callable[[JsonObject], list[JsonObject]] = lambda _: []


@cache
def _columns() -> dict[str, tuple[JsonObject, ...]]:
    text = files("hatoba.cluster.formats").joinpath("data/columns.json").read_text()
    names = ("name", "type", "format", "priority", "description")
    return {
        kind: tuple(dict(zip(names, column, strict=True)) for column in columns)
        for kind, columns in json.loads(text).items()
    }


@cache
def builtin_printer(group: str, kind: str) -> Printer:
    """Return the printer of a built-in kind; unknown kinds show name and creation time."""
    key = f"{group}/{kind}" if group else kind
    if key not in _ROWS:
        return Printer(columns=_columns()[_PLAIN], cells=rows.plain)
    if key == "Pod":
        return Printer(
            columns=_columns()[key], cells=_ROWS[key], conditions=workload_rows.pod_conditions
        )
    return Printer(columns=_columns()[key], cells=_ROWS[key])


def custom_printer(printer_columns: Sequence[JsonObject] | None) -> Printer:
    """Return the printer that a CRD version's `additionalPrinterColumns` describe.

    Raises:
        UnsupportedPath: a column's path cannot be read.
    """
    name_column = _columns()["Namespace"][0]
    if printer_columns is None:
        created = _columns()["Namespace"][-1]["description"]
        default = _definition("Age", "date", description=created)
        return Printer(
            columns=(name_column, default),
            cells=_custom_cells([("date", ".metadata.creationTimestamp")]),
        )
    definitions = [
        _definition(
            column["name"],
            column["type"],
            description=column.get("description")
            or f"Custom resource definition column (in JSONPath format): {column['jsonPath']}",
            form=column.get("format") or "",
            priority=column.get("priority") or 0,
        )
        for column in printer_columns
    ]
    read = _custom_cells([(column["type"], column["jsonPath"]) for column in printer_columns])
    return Printer(columns=(name_column, *definitions), cells=read)


def _definition(
    name: str, kind: str, *, description: str, form: str = "", priority: int = 0
) -> JsonObject:
    return {
        "name": name,
        "type": kind,
        "format": form,
        "description": description,
        "priority": priority,
    }


def _custom_cells(columns: Iterable[tuple[str, str]]) -> Row:
    paths = [(kind, parse_path(path)) for kind, path in columns]

    def cells(obj: JsonObject, now: datetime) -> Cells:
        found: Cells = [rows.name_of(obj)]
        for kind, path in paths:
            values = path.find(obj)
            found.append(_custom_cell(kind, values[0], now) if values else None)
        return found

    return cells


def _custom_cell(kind: str, value: JsonValue, now: datetime) -> JsonValue:
    """Return a value as its column shows it; null where the types do not agree."""
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "integer":
            return int(value) if is_number else None
        case "number":
            return value if is_number else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "date":
            return _custom_date(value, now)
        case _:
            return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _custom_date(value: JsonValue, now: datetime) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        return age(value, now)
    except ValueError:
        return "<invalid>"


def partial_object(obj: JsonObject, *, version: str = "v1") -> JsonObject:
    """Return only the metadata of an object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj["metadata"],
    }


def partial_list(
    objects: Iterable[JsonObject], *, metadata: JsonObject, version: str = "v1"
) -> JsonObject:
    """Return a list of only the metadata of objects."""
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "items": [partial_object(obj, version=version) for obj in objects],
    }


def table(
    objects: Iterable[JsonObject],
    *,
    printer: Printer,
    now: datetime,
    metadata: JsonObject,
    include: Include = "Metadata",
    with_columns: bool = True,
    version: str = "v1",
) -> JsonObject:
    """Return a table with a row for each object.

    A watch sends the columns with its first row only (`with_columns`).
    """
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": list(printer.columns) if with_columns else None,
        "rows": [_row(obj, printer, now, include, version) for obj in objects],
    }


def _row(
    obj: JsonObject, printer: Printer, now: datetime, include: Include, version: str
) -> JsonObject:
    row: dict[str, Any] = {"cells": printer.cells(obj, now)}
    if conditions := printer.conditions(obj):
        row["conditions"] = conditions
    match include:
        case "Metadata":
            row["object"] = partial_object(obj, version=version)
        case "Object":
            row["object"] = obj
        case "None":
            row["object"] = None
    return row
