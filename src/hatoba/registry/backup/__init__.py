"""Backups of a whole registry: database, blobs, configuration; and their restoration."""
