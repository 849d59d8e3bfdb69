"""Metrics of the collection and of scrubbing; Quay's names are kept where its dashboards ask."""

from prometheus_client import Counter, Histogram

from hatoba.registry.retention.models import Collected

REMOVED = Counter(
    "hatoba_retention_removed_total",
    "Things that nothing referred to, removed.",
    labelnames=("kind",),
)
FREED_BYTES = Counter("hatoba_retention_freed_bytes_total", "Bytes of blobs that were removed.")
QUARANTINED = Counter(
    "hatoba_retention_quarantined_total", "Blobs put into quarantine, as nothing refers to them."
)
TAKEN_BACK = Counter(
    "hatoba_retention_taken_back_total", "Blobs found in use at the end of their quarantine."
)
FAILURES = Counter(
    "hatoba_retention_failures_total", "Blobs that the storage did not remove; tried again later."
)
RUN_SECONDS = Histogram(
    "hatoba_retention_run_seconds",
    "How long a run takes.",
    labelnames=("step",),
    buckets=(0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 1800),
)
RUNS = Counter("quay_gc_iterations", "Runs of the collection.")
NAMESPACES = Counter("quay_gc_namespaces_purged", "Deleted namespaces, removed.")
REPOSITORIES = Counter("quay_gc_repos_purged", "Deleted repositories, removed.")
BLOBS = Counter("quay_gc_storage_blobs_deleted", "Blobs whose bytes were removed.")

SCRUBBED_BLOBS = Counter(
    "hatoba_retention_scrubbed_total", "Blobs whose digest was compared.", labelnames=("outcome",)
)
SCRUBBED_BYTES = Counter("hatoba_retention_scrubbed_bytes_total", "Bytes read by scrubbing.")
ORPHANS = Counter(
    "hatoba_retention_orphans_total", "Bytes that no row names.", labelnames=("outcome",)
)


def count(done: Collected) -> None:
    """Add what a run did."""
    for kind, number in (
        ("namespace", done.namespaces),
        ("repository", done.repositories),
        ("tag", done.tags),
        ("manifest", done.manifests),
        ("blob", done.blobs),
    ):
        REMOVED.labels(kind).inc(number)
    FREED_BYTES.inc(done.bytes)
    QUARANTINED.inc(done.quarantined)
    TAKEN_BACK.inc(done.taken_back)
    FAILURES.inc(done.failed)
    NAMESPACES.inc(done.namespaces)
    REPOSITORIES.inc(done.repositories)
    BLOBS.inc(done.blobs)
