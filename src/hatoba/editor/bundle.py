"""A configuration as it lies in a directory and travels to the operator.

Source: Quay config-tool, `{"config.yaml": {...}, "certs": {path: base64}}`.
"""

import base64
import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from hatoba.config.loader import CONFIG_FILE, MAXIMUM_FILE_BYTES, read_mapping
from hatoba.config.schema import GROUPS
from hatoba.config.validation import Finding
from hatoba.kernel.errors import TooLarge
from hatoba.kernel.json import JsonObject

MAXIMUM_FILES: Final = 500


@dataclass(slots=True, frozen=True, kw_only=True)
class Bundle:
    """config.yaml, and the files beside it by their path."""

    config: JsonObject
    files: dict[str, bytes] = field(default_factory=dict, repr=False)

    def wire(self) -> JsonObject:
        """Return the form in which it travels."""
        return {
            CONFIG_FILE: self.config,
            "certs": {
                path: base64.b64encode(content).decode() for path, content in self.files.items()
            },
        }

    def archive(self) -> bytes:
        """Return a tar.gz with all files."""
        out = io.BytesIO()
        files = {CONFIG_FILE: yaml.safe_dump(self.config, sort_keys=True).encode(), **self.files}
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            for path, content in files.items():
                info = tarfile.TarInfo(path)
                info.size, info.mode = len(content), 0o600
                archive.addfile(info, io.BytesIO(content))
        return out.getvalue()


def read_bundle(directory: Path) -> Bundle:
    """Read a mounted configuration.

    Raises:
        ConfigurationInvalid: config.yaml is absent or cannot be read.
    """
    return Bundle(config=read_mapping(directory), files=_files(directory))


def _files(directory: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    total = 0
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        # Mounted Secrets keep their real files in hidden directories and link to them.
        if any(part.startswith(".") for part in relative.parts) or not path.is_file():
            continue
        if str(relative) == CONFIG_FILE:
            continue
        total += path.stat().st_size
        if total > MAXIMUM_FILE_BYTES or len(found) >= MAXIMUM_FILES:
            raise TooLarge("the files beside config.yaml are more than a Secret can hold")
        found[str(relative)] = path.read_bytes()
    return found


_GROUP_OF_KEY: Final = {
    name.upper(): group.field_group for group in GROUPS for name in group.model_fields
}


def finding_view(finding: Finding) -> JsonObject:
    """Return a fault in config-tool's form."""
    key = finding.field.partition(".")[0]
    return {
        "FieldGroup": _GROUP_OF_KEY.get(key, ""),
        "Tags": [key],
        "Message": str(finding),
    }
