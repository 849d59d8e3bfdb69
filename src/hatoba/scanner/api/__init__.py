"""The edge: Clair's HTTP API on top of the indexer and the matcher."""
