"""Which authorities calls to others believe: the system's, and a configuration directory's."""

import ssl
from pathlib import Path

import structlog

from hatoba.config.loader import extra_authorities

log = structlog.get_logger()


def trusted_authorities(directory: Path) -> ssl.SSLContext:
    """Return the system's authorities and those that lie in a configuration directory.

    A file that is no certificate is reported and left out, so that one bad file does not stop what
    the others are for.
    """
    context = ssl.create_default_context()
    for file in extra_authorities(directory):
        try:
            context.load_verify_locations(cafile=str(file))
        except ssl.SSLError as error:
            log.warning("not a certificate", file=file.name, error=str(error))
    return context
