"""A registry without anything around it: SQLite and files below one directory.

Called by `hatoba registry serve` when no configuration directory is given. The first start
writes a `config.yaml` with keys of its own, which people may edit afterwards.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import yaml

from hatoba.config.loader import CONFIG_FILE, Configuration, load, parse_yaml, read_mapping
from hatoba.kernel.errors import Conflict
from hatoba.kernel.ids import random_text
from hatoba.kernel.json import JsonObject

DEFAULT_ADMINISTRATOR: Final = "admin"
_KEY_LENGTH: Final = 64
_STORAGE: Final = ("DISTRIBUTED_STORAGE_CONFIG", "DISTRIBUTED_STORAGE_PREFERENCE")


def open_standalone(directory: Path, *, hostname: str) -> Configuration:
    """Read the configuration of a data directory, making both if need be.

    Args:
        directory: where everything lies.
        hostname: host and port that clients use, unless the file names another one.

    Raises:
        ConfigurationInvalid: the file was edited into something that cannot be used.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / CONFIG_FILE
    if not path.exists():
        _write_new(path, _first_configuration(directory))
    configuration = load(directory)
    if "server_hostname" not in configuration.settings.model_fields_set:
        settings = configuration.settings.model_copy(update={"server_hostname": hostname})
        configuration = replace(configuration, settings=settings)
    return configuration


class DirectoryInUse(Conflict):
    """A directory that shall become a registry belongs to another one."""


def moved_here(directory: Path, files: Mapping[str, bytes]) -> Configuration:
    """Make a data directory for the configuration of a stand-alone registry that lay elsewhere.

    It keeps its keys; database and blobs are looked for here. May be repeated.

    Raises:
        DirectoryInUse: the directory has a configuration with other keys.
        ConfigurationInvalid: there is none among the files.
    """
    given = parse_yaml(files.get(CONFIG_FILE, b""))
    here = _first_configuration(directory)
    moved = given | {key: here[key] for key in ("DB_URI", *_STORAGE)}
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / CONFIG_FILE
    if not path.exists():
        _write_new(path, moved)
    elif read_mapping(directory) != moved:
        raise DirectoryInUse(f"{directory} holds another registry; name an empty directory")
    return load(directory)


def _first_configuration(directory: Path) -> JsonObject:
    return {
        "BROWSER_API_CALLS_XHR_ONLY": False,
        "DATABASE_SECRET_KEY": random_text(_KEY_LENGTH),
        "DB_URI": f"sqlite:///{directory / 'registry.db'}",
        "DISTRIBUTED_STORAGE_CONFIG": {
            "default": ["LocalStorage", {"storage_path": str(directory / "storage")}]
        },
        "DISTRIBUTED_STORAGE_PREFERENCE": ["default"],
        "FEATURE_USER_INITIALIZE": True,
        "PREFERRED_URL_SCHEME": "http",
        "SECRET_KEY": random_text(_KEY_LENGTH),
        "SUPER_USERS": [DEFAULT_ADMINISTRATOR],
    }


def _write_new(path: Path, content: JsonObject) -> None:
    """Write the file whole or not at all: its keys must never be lost or read by others."""
    temporary = path.with_suffix(".new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        yaml.safe_dump(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    # What the keys encrypt is durable from now on; so must the name be under which they lie.
    holder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(holder)
    finally:
        os.close(holder)
