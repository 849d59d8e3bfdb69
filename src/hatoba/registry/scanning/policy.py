"""What can be scanned, and how a report is shown. Pure.

Spec: Clair v4 VulnerabilityReport; Quay API, `.../manifest/<digest>/security`.
"""

import json
from typing import Any, Final

from hatoba.kernel.json import JsonObject

CONFIG_TYPES: Final = frozenset(
    {
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.oci.image.config.v1+json",
    }
)
LAYER_TYPES: Final = frozenset(
    {
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
    }
)
INDEXED_BY_VERSION: Final = 4


def scannable_layers(content: str) -> list[str]:
    """Return the digests of an image's layers, base first; empty when it is no image."""
    manifest = json.loads(content)
    if manifest.get("config", {}).get("mediaType") not in CONFIG_TYPES:
        return []
    layers = manifest.get("layers") or []
    if any(layer.get("mediaType") not in LAYER_TYPES for layer in layers):
        return []
    return [str(layer["digest"]) for layer in layers]


def show_report(report: JsonObject, *, digest: str) -> JsonObject:
    """Return a Clair v4 report as Quay's API shows it."""
    features = [
        _feature(report, package_id=package_id, package=package)
        for package_id, package in (report.get("packages") or {}).items()
    ]
    layer = {
        "Name": digest,
        "ParentName": "",
        "NamespaceName": "",
        "IndexedByVersion": INDEXED_BY_VERSION,
        "Features": features,
    }
    return {"Layer": layer}


def _feature(report: JsonObject, *, package_id: str, package: JsonObject) -> JsonObject:
    environments = (report.get("environments") or {}).get(package_id) or [{}]
    found = (report.get("package_vulnerabilities") or {}).get(package_id) or []
    vulnerabilities = report.get("vulnerabilities") or {}
    return {
        "Name": package.get("name", ""),
        "VersionFormat": "",
        "NamespaceName": "",
        "AddedBy": environments[0].get("introduced_in", ""),
        "Version": package.get("version", ""),
        "Vulnerabilities": [
            _vulnerability(report, vulnerabilities[key]) for key in found if key in vulnerabilities
        ],
    }


def _vulnerability(report: JsonObject, vulnerability: JsonObject) -> JsonObject:
    repository = vulnerability.get("repository") or {}
    distribution = vulnerability.get("distribution") or {}
    vectors, score = _cvss(report, str(vulnerability.get("id", "")))
    return {
        "Severity": vulnerability.get("normalized_severity", "Unknown"),
        "NamespaceName": vulnerability.get("updater", ""),
        "Link": vulnerability.get("links", ""),
        "FixedBy": vulnerability.get("fixed_in_version", ""),
        "Description": vulnerability.get("description", ""),
        "Name": vulnerability.get("name", ""),
        "Metadata": {
            "UpdatedBy": vulnerability.get("updater", ""),
            "RepoName": repository.get("name"),
            "RepoLink": repository.get("uri"),
            "DistroName": distribution.get("name"),
            "DistroVersion": distribution.get("version"),
            "NVD": {"CVSSv3": {"Vectors": vectors, "Score": score}},
        },
    }


def _cvss(report: JsonObject, vulnerability_id: str) -> tuple[str, Any]:
    """Return the strongest CVSS vector and score that enrichments hold."""
    scores = [
        score
        for items in (report.get("enrichments") or {}).values()
        for item in items
        for score in item.get(vulnerability_id) or []
        if "baseScore" in score
    ]
    if not scores:
        return "", ""
    strongest = max(scores, key=lambda score: float(score["baseScore"]))
    return strongest.get("vectorString", ""), strongest["baseScore"]
