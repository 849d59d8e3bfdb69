"""Kubernetes objects as values: schemas, patches, apply, selectors, tables.

Everything here is a function of its arguments; the only thing read is the packaged schema data.
The API server calls it; it knows of the server only how failures are said (`api.status`).
"""
