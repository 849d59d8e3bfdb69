"""Outbound: HTTP with deadlines, and a client of other registries."""
