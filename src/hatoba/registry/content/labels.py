"""Labels that a push brings along, and the one that has a meaning here. Pure.

Quay: the labels of the image's config, then the manifest's annotations. `quay.expires-after`
(`2w`, `12h`) gives the tag that it is pushed under an end.
"""

import json
from datetime import timedelta
from typing import Final

from hatoba.config.durations import parse_duration
from hatoba.kernel.text import is_storable
from hatoba.oci.manifests import Manifest
from hatoba.oci.media_types import DOCKER_CONFIG, OCI_CONFIG

EXPIRES_AFTER: Final = "quay.expires-after"
LARGEST_CONFIG_BYTES: Final = 1 << 20
MAXIMUM_LABELS: Final = 500
MAXIMUM_KEY_LENGTH: Final = 255
MAXIMUM_LIFETIME: Final = timedelta(weeks=52_000)
"""About a thousand years; a longer wish could name a moment that no calendar has."""
_CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})


def has_readable_config(manifest: Manifest) -> bool:
    """Whether the manifest's config is of a kind and size that labels are read from."""
    config = manifest.config
    return (
        config is not None and config.media_type in _CONFIGS and config.size <= LARGEST_CONFIG_BYTES
    )


def labels_of(manifest: Manifest, *, config: bytes) -> dict[str, str]:
    """Return the labels of a manifest; what cannot be read has none."""
    found = _config_labels(config) | manifest.annotations
    kept = {
        key: value
        for key, value in found.items()
        if isinstance(value, str)
        and 0 < len(key) <= MAXIMUM_KEY_LENGTH
        and is_storable(key + value)
    }
    return dict(list(kept.items())[:MAXIMUM_LABELS])


def _config_labels(config: bytes) -> dict[str, object]:
    try:
        document = json.loads(config) if config else {}
    except (ValueError, RecursionError):
        return {}
    inner = document.get("config") if isinstance(document, dict) else None
    labels = inner.get("Labels") if isinstance(inner, dict) else None
    return labels if isinstance(labels, dict) else {}


def lifetime_of(labels: dict[str, str]) -> timedelta | None:
    """Return how long a tag is to live, or None without a (well-formed) wish."""
    wish = labels.get(EXPIRES_AFTER)
    if wish is None:
        return None
    try:
        lifetime = parse_duration(wish.strip())
    except (ValueError, OverflowError):
        return None
    return lifetime if timedelta() < lifetime <= MAXIMUM_LIFETIME else None


def media_type_of(value: str) -> str:
    """Return how a label's value is marked: JSON by its first character, as Quay guesses."""
    return "application/json" if value.lstrip()[:1] in {"{", "["} else "text/plain"
