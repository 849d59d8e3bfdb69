"""Formats of the Open Container Initiative and of Docker: bytes in, values out. No I/O.

Spec: image-spec 1.1, distribution-spec 1.1; Docker image manifest version 2, schema 2.
"""
