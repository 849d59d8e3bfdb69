"""Blob storage: bytes under their digest, and uploads on the way there. Drivers know no SQL."""
