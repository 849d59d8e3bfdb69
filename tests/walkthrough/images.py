"""Build real images on disk as OCI layouts, without any container engine."""

import gzip
import hashlib
import io
import json
import random
import tarfile
from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Layout:
    """An OCI image layout that grows in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "blobs/sha256").mkdir(parents=True)
        (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self._tagged: list[dict] = []
        self._write_index()

    def blob(self, content: bytes, media_type: str) -> dict:
        digest = hashlib.sha256(content).hexdigest()
        (self.directory / "blobs/sha256" / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def image(self, layers: list[dict[str, bytes]], *, architecture: str = "amd64") -> dict:
        """Add an image whose layers hold these files; return its descriptor."""
        tars = [_tar(files) for files in layers]
        config = {
            "architecture": architecture, "os": "linux", "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [_sha(tar) for tar in tars]},
            "history": [{"created_by": "test"} for _ in tars],
        }  # fmt: skip
        manifest = {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": self.blob(json.dumps(config).encode(), CONFIG),
            "layers": [self.blob(gzip.compress(tar, 1, mtime=0), LAYER) for tar in tars],
        }  # fmt: skip
        return self.blob(json.dumps(manifest).encode(), MANIFEST)

    def index(self, images: dict[str, dict]) -> dict:
        """Add an index over images by architecture."""
        manifests = [
            {**descriptor, "platform": {"architecture": architecture, "os": "linux"}}
            for architecture, descriptor in images.items()
        ]
        content = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        return self.blob(json.dumps(content).encode(), INDEX)

    def tag(self, name: str, descriptor: dict) -> str:
        """Name a descriptor; return how skopeo reaches it."""
        annotations = {"org.opencontainers.image.ref.name": name}
        self._tagged.append({**descriptor, "annotations": annotations})
        self._write_index()
        return f"oci:{self.directory}:{name}"

    def _write_index(self) -> None:
        content = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self._tagged}
        (self.directory / "index.json").write_text(json.dumps(content))


def random_files(seed: int, *, count: int = 3, size: int = 100_000) -> dict[str, bytes]:
    source = random.Random(seed)
    return {f"data/{seed}-{n}.bin": source.randbytes(size) for n in range(count)}


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _sha(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
