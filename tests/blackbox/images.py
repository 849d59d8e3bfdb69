"""Images made by tests: OCI layouts with real layers, for real clients to push."""

import gzip
import io
import json
import random
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from hatoba.kernel.digests import Digest
from hatoba.kernel.json import JsonObject
from hatoba.oci import media_types

GZIP_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def layer_tar(files: dict[str, bytes]) -> bytes:
    """Return a tar with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@dataclass
class Layout:
    """An OCI layout directory that is being filled."""

    path: Path
    manifests: list[JsonObject] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.path / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def add(self, content: bytes, media_type: str) -> JsonObject:
        digest = Digest.of(content)
        (self.path / "blobs/sha256" / digest.hex).write_bytes(content)
        return {"mediaType": media_type, "digest": str(digest), "size": len(content)}

    def add_image(
        self, *, seed: int, layers: int = 3, layer_bytes: int = 200_000, architecture: str = "amd64"
    ) -> JsonObject:
        """Add an image whose content depends on the seed alone; return its descriptor."""
        source = random.Random(seed)
        described, diff_ids = [], []
        for number in range(layers):
            tar = layer_tar({f"file-{number}": source.randbytes(layer_bytes)})
            diff_ids.append(str(Digest.of(tar)))
            described.append(self.add(gzip.compress(tar, 1, mtime=0), GZIP_LAYER))
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/file-0"], "Labels": {"seed": str(seed)}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": self.add(json.dumps(config).encode(), media_types.OCI_CONFIG),
            "layers": described,
        }
        descriptor = self.add(json.dumps(manifest).encode(), media_types.OCI_MANIFEST)
        return {**descriptor, "platform": {"architecture": architecture, "os": "linux"}}

    def add_index(self, children: list[JsonObject]) -> JsonObject:
        index = {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": children,
        }
        return self.add(json.dumps(index).encode(), media_types.OCI_INDEX)

    def name(self, descriptor: JsonObject, tag: str) -> str:
        """Give a manifest a name in the layout; return skopeo's reference to it."""
        named = {**descriptor, "annotations": {"org.opencontainers.image.ref.name": tag}}
        self.manifests.append(named)
        content = {"schemaVersion": 2, "manifests": self.manifests}
        (self.path / "index.json").write_text(json.dumps(content))
        return f"oci:{self.path}:{tag}"

    def digest_of(self, tag: str) -> str:
        return next(
            str(one["digest"])
            for one in self.manifests
            if one["annotations"]["org.opencontainers.image.ref.name"] == tag
        )
