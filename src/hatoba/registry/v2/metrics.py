"""Metrics of this edge, under the names that Quay's dashboards use.

Finding a child by its labels costs more than counting in it, so children are remembered: there
are as many as there are methods, rows of routes and statuses.
"""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

REQUEST_SECONDS = Histogram(
    "quay_request_duration_seconds",
    "Seconds to answer a request.",
    labelnames=("method", "route", "status"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
IN_FLIGHT = Gauge(
    "hatoba_registry_requests_in_flight",
    "Requests that are being answered; what autoscaling may go by.",
    multiprocess_mode="livesum",
)
PULLS = Counter(
    "quay_registry_image_pulls",
    "Manifests pulled.",
    labelnames=("protocol", "ref", "status"),
)
PUSHES = Counter(
    "quay_registry_image_pushes",
    "Manifests pushed.",
    labelnames=("protocol", "status", "media_type"),
)
PUSHED_BYTES = Counter("quay_registry_image_pushed_bytes", "Bytes of blobs pushed.")


@cache
def request_seconds(method: str, endpoint: str, status: int) -> Histogram:
    """Return where the seconds of such requests are observed."""
    return REQUEST_SECONDS.labels(method, f"v2.{endpoint}", status)


@cache
def pulls(reference: str, status: int) -> Counter:
    """Return where pulls are counted: of a `tag` or of a `manifest` by its digest."""
    return PULLS.labels("v2", reference, status)
