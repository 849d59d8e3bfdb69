"""Revisions of the registry's schema, applied by `hatoba.sql.migrations`."""
