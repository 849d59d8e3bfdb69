"""Which authorities a storage's certificate may come from."""

import ssl
from pathlib import Path

from hatoba.config.loader import extra_authorities
from hatoba.config.schema.storage_options import StorageOptions
from hatoba.kernel.errors import InvalidInput


class AuthorityUnusable(InvalidInput):
    """A file of authorities cannot be read."""


def context_of(options: StorageOptions, *, directory: Path) -> ssl.SSLContext | bool:
    """Return what a session needs to check the storage, or False where it is not to.

    Raises:
        AuthorityUnusable: a file of authorities cannot be read.
    """
    if not options.verify_tls:
        return False
    named = options.ca_bundle
    files = extra_authorities(directory) if named is None else [directory / named]
    context = ssl.create_default_context() if named is None else _bare()
    for path in files:
        try:
            context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise AuthorityUnusable(f"the authorities of {path.name} cannot be read") from error
    return context


def _bare() -> ssl.SSLContext:
    """Return a context that checks and believes nobody yet."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
