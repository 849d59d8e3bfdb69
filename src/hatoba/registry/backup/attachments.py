"""The configuration of a backup: named files, small enough for memory.

`config/` holds the configuration directory. Whoever makes a backup may attach other directories:
the operator attaches the Secrets from which it would make the registry again.
"""

import base64
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from hatoba.config.loader import CONFIG_FILE, MAXIMUM_FILE_BYTES, Configuration, extra_authorities
from hatoba.kernel.errors import TooLarge
from hatoba.registry.backup.errors import FormatUnknown

CONFIGURATION: Final = "config"
"""Where the configuration directory lies among the attached files."""
_BESIDE: Final = ("ssl.cert", "ssl.key", "*.pem", "*.crt", "*.key")


class AttachmentTooLarge(TooLarge):
    """A file of the configuration is larger than a configuration can be."""


def configuration_files(configuration: Configuration) -> dict[str, bytes]:
    """Return config.yaml and the certificates and keys beside it.

    Raises:
        AttachmentTooLarge: one of them is.
    """
    directory = configuration.directory
    paths = {directory / CONFIG_FILE, *extra_authorities(directory)}
    for pattern in _BESIDE:
        paths |= {path for path in directory.glob(pattern) if path.is_file()}
    return {f"{CONFIGURATION}/{path.relative_to(directory)}": _read(path) for path in paths}


def files_below(name: str, directory: Path) -> dict[str, bytes]:
    """Return the files of a directory, as Kubernetes mounts a Secret.

    Raises:
        AttachmentTooLarge: one of them is.
    """
    # `..data` and what it points at is how the kubelet exchanges all files at once.
    return {
        f"{name}/{path.name}": _read(path)
        for path in sorted(directory.iterdir())
        if path.is_file() and not path.name.startswith("..")
    }


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAXIMUM_FILE_BYTES:
        raise AttachmentTooLarge(f"{path} is larger than {MAXIMUM_FILE_BYTES} bytes")
    return path.read_bytes()


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return files as one."""
    encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
    return json.dumps(encoded, sort_keys=True).encode()


def unpack(content: bytes) -> dict[str, bytes]:
    """Return the files again.

    Raises:
        FormatUnknown: it is something else.
    """
    try:
        return {name: base64.b64decode(value) for name, value in json.loads(content).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise FormatUnknown("the configuration of the backup cannot be read") from error


def write_files(files: Mapping[str, bytes], directory: Path, *, among: Iterable[str]) -> list[Path]:
    """Write the files of some attached directories; return where they are.

    Only their owner can read them: they hold keys.
    """
    written: list[Path] = []
    for name, content in sorted(files.items()):
        top, _, rest = name.partition("/")
        if top not in among:
            continue
        path = directory / rest
        if not path.resolve().is_relative_to(directory.resolve()):
            raise FormatUnknown(f"the configuration of the backup has a file called {name!r}")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        written.append(path)
    return written
