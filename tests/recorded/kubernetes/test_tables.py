"""Cells of recorded tables, computed anew from the objects recorded beside them."""

import re
from datetime import UTC, datetime

import pytest
from tests.recorded import require
from tests.recorded.kubernetes.recording import NOT_SERVED, read

from hatoba.cluster.formats.tables import builtin_printer, custom_printer

pytestmark = pytest.mark.recorded
NOW = datetime(2026, 11, 23, 20, tzinfo=UTC)
AGO = re.compile(r"\(.* ago\)")
AGE = re.compile(r"(\d+[smhdy])+")
SCENARIOS = {
    "deploy-rolling": 8,
    "events": 5,
    "hpa": 5,
    "hpa-single": 10,
    "job": 10,
    "kubectl-get": 10,
    "pod-lifecycle": 200,
    "pvc": 3,
    "service-endpoints": 5,
    "tables": 1,
    "watch": 20,
}
"""Scenarios with tables, and how many rows at least can be computed in each."""


def documents(exchanges):
    for exchange in exchanges:
        answer = exchange.answer
        if isinstance(answer, dict):
            yield answer
        elif isinstance(answer, list):
            for entry in answer:
                event = entry.get("event") if isinstance(entry, dict) else None
                if isinstance(event, dict) and isinstance(event.get("object"), dict):
                    yield event["object"]


def whole_objects(document):
    """Yield the objects of a document that are there with everything in them."""
    kind = document.get("kind", "")
    if kind.endswith("List"):
        for item in document.get("items") or ():
            yield {"kind": kind[:-4], "apiVersion": document["apiVersion"], **item}
    elif kind == "Table":
        for row in document.get("rows") or ():
            yield from whole_objects(row.get("object") or {})
    else:
        yield document


def identity(obj):
    metadata = obj.get("metadata") or {}
    return metadata.get("uid"), metadata.get("resourceVersion")


def plain(cells):
    shown = [AGO.sub("(ago)", cell) if isinstance(cell, str) else cell for cell in cells]
    return [AGE.sub("age", c) if isinstance(c, str) and AGE.fullmatch(c) else c for c in shown]


def printer_of(obj, custom):
    group = obj["apiVersion"].rpartition("/")[0]
    if "." in group and not group.endswith("k8s.io"):
        return custom.get((group, obj["kind"]))
    if f"{obj['kind'].lower()}s" in NOT_SERVED:
        return None
    return builtin_printer(group, obj["kind"])


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_rows_are_those_of_a_real_server(scenario):
    found = list(documents(read(require("kubernetes", f"{scenario}.jsonl"))))
    known, custom = {}, {}
    for document in found:
        for obj in whole_objects(document):
            if obj.get("kind") == "CustomResourceDefinition" and "spec" in obj:
                version = obj["spec"]["versions"][0]
                names = (obj["spec"]["group"], obj["spec"]["names"]["kind"])
                custom[names] = custom_printer(version.get("additionalPrinterColumns"))
            if obj.get("kind") != "PartialObjectMetadata" and identity(obj)[0]:
                known[identity(obj)] = obj
    compared, wrong = 0, []
    for document in found:
        for row in (document.get("rows") or ()) if document.get("kind") == "Table" else ():
            obj = known.get(identity(row.get("object") or {}))
            printer = printer_of(obj, custom) if obj else None
            if printer is None:
                continue
            compared += 1
            ours = plain(printer.cells(obj, NOW))
            if ours != plain(row["cells"]) or printer.conditions(obj) != row.get("conditions", []):
                wrong.append((obj["kind"], ours, row["cells"]))
    assert wrong == []
    assert compared >= SCENARIOS[scenario]
    print(f"{scenario}: {compared} rows")
