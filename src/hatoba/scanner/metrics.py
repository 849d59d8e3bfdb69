"""What the scanner counts."""

from prometheus_client import Counter, Histogram

INDEX_SECONDS = Histogram(
    "hatoba_scanner_index_seconds",
    "Time to index a manifest",
    ["outcome"],
    buckets=(0.05, 0.2, 1, 5, 20, 60, 300, 600),
)
LAYERS = Counter("hatoba_scanner_layers_total", "Layers that were read", ["outcome"])
LAYER_BYTES = Counter("hatoba_scanner_layer_bytes_total", "Bytes of layers that were fetched")
MATCH_SECONDS = Histogram(
    "hatoba_scanner_match_seconds",
    "Time to make a vulnerability report",
    buckets=(0.01, 0.05, 0.2, 1, 5, 20),
)
UPDATES = Counter("hatoba_scanner_updates_total", "Runs of updaters", ["updater", "outcome"])
