"""What a Job of ours says when it has ended: its last words, which `hatoba backup` prints. Pure."""

import json
from collections.abc import Iterable, Sequence
from typing import Final

from hatoba.kernel.json import JsonObject

JOB_LABEL: Final = "job-name"
_PREFIX: Final = "hatoba: "
_LONGEST: Final = 600


def ended(job: JsonObject) -> str:
    """Return `Complete`, `Failed`, or "" for a Job that has not ended."""
    for one in (job.get("status") or {}).get("conditions") or []:
        if one.get("type") in ("Complete", "Failed") and one.get("status") == "True":
            return str(one["type"])
    return ""


def newest_pod(pods: Iterable[JsonObject], job: str) -> str | None:
    """Return the pod of a Job that was started last."""
    mine = [
        (str(pod["metadata"].get("creationTimestamp", "")), str(pod["metadata"]["name"]))
        for pod in pods
        if (pod["metadata"].get("labels") or {}).get(JOB_LABEL) == job
    ]
    return max(mine)[1] if mine else None


def summary_in(lines: Sequence[str]) -> JsonObject | None:
    """Return the summary that a backup prints at its end."""
    for line in reversed(lines):
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict) and "id" in found and "layout" in found:
                return found
    return None


def complaint_in(lines: Sequence[str]) -> str:
    """Return the sentence with which a command failed, or the last thing it said."""
    said = [line.removeprefix(_PREFIX) for line in lines if line.startswith(_PREFIX)]
    text = said[-1] if said else next((line for line in reversed(lines) if line.strip()), "")
    return " ".join(text.split())[:_LONGEST]


def facts(summary: JsonObject) -> JsonObject:
    """Return what a status tells of a backup."""
    return {
        "id": summary["id"],
        "startedAt": summary["created_at"],
        "finishedAt": summary["finished_at"],
        "databaseBytes": summary["database_bytes"],
        "blobs": summary["blob_count"],
        "blobBytes": summary["blob_bytes"],
        "copiedBytes": summary["copied_bytes"],
        "missingBlobs": len(summary["missing"]),
    }
