"""`skopeo copy`: a whole image to the registry and back, as people do it."""

import hashlib
import json
import resource
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

from bench.load.scripts import slices, suffix_of
from bench.model import BenchmarkFailed, Floor, Sample
from bench.plan import MIB, Plan
from bench.rows import Contest, Context
from bench.servers.ours import NAME, PASSWORD, USER
from bench.servers.side import Side
from bench.stock import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE

PATIENCE_SECONDS: Final = 300.0
_AS_MANY: Final = (Floor(kind="rate", factor=1),)


@dataclass(slots=True, frozen=True, kw_only=True)
class Copies:
    """Copies an image that is new each time. One copy is one request of the table."""

    plan: Plan
    directory: Path
    way: Literal["push", "pull"]

    def prepare(self, side: Side) -> None:
        """Push an image to pull."""
        if self.way == "pull":
            # In a place of its own for each side: both are prepared beside each other.
            layout = self._layout("pulled", below=self.directory / side.name)
            self._copy(f"oci:{layout}:image", _remote(side, "pulled"), side=side)
            shutil.rmtree(layout)

    def run(self, side: Side) -> Sample:
        """Copy once.

        Raises:
            BenchmarkFailed: skopeo failed.
        """
        name = uuid4().hex[:12]
        layout = self._layout(name) if self.way == "push" else self.directory / name
        try:
            if self.way == "push":
                return self._copy(f"oci:{layout}:image", _remote(side, name), side=side)
            return self._copy(_remote(side, "pulled"), f"oci:{layout}:image", side=side)
        finally:
            shutil.rmtree(layout)

    def _copy(self, source: str, destination: str, *, side: Side) -> Sample:
        options = []
        for place, reference in (("src", source), ("dest", destination)):
            if reference.startswith("docker:"):
                options.append(f"--{place}-tls-verify=false")
                options += [f"--{place}-creds={USER}:{PASSWORD}"] if side.name == NAME else []
        before, started = _children_cpu_seconds(), time.perf_counter()
        try:
            done = subprocess.run(
                ["skopeo", "--insecure-policy", "copy", "-q", *options, source, destination],
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE_SECONDS,
            )
        except FileNotFoundError as error:
            raise BenchmarkFailed("skopeo is not installed (Debian: skopeo)") from error
        seconds = time.perf_counter() - started
        if done.returncode:
            raise BenchmarkFailed(f"skopeo: {done.stderr.strip()}")
        return Sample(
            requests=1,
            failures=0,
            seconds=seconds,
            p50_ms=seconds * 1000,
            p99_ms=seconds * 1000,
            body_bytes=self.plan.layers * self.plan.layer_bytes,
            client_cpu_seconds=_children_cpu_seconds() - before,
        )

    def _layout(self, name: str, *, below: Path | None = None) -> Path:
        """Write an OCI image layout whose blobs nobody has seen."""
        layout = (below or self.directory) / name
        blobs = layout / "blobs/sha256"
        blobs.mkdir(parents=True)
        size = self.plan.layer_bytes
        layers = []
        for number in range(self.plan.layers):
            body = b"".join(slices(size, suffix_of(name, number), start=0, stop=size))
            layers.append(_write(blobs, body, LAYER_TYPE))
        diffs = [layer["digest"] for layer in layers]
        rootfs = {"type": "layers", "diff_ids": diffs}
        config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _write(blobs, json.dumps(config).encode(), CONFIG_TYPE),
            "layers": layers,
        }
        entry = _write(blobs, json.dumps(manifest).encode(), MANIFEST_TYPE)
        entry["annotations"] = {"org.opencontainers.image.ref.name": "image"}
        (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
        (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        return layout


def rows(context: Context) -> Sequence[Contest]:
    """Return the rows of this group."""
    plan = context.plan
    image = f"{plan.layers} layers of {plan.layer_bytes // MIB} MiB"
    ways: tuple[Literal["push", "pull"], ...] = ("push", "pull")
    return [
        Contest(
            key=f"skopeo-{way}-1",
            work=f"skopeo copy {way}, {image}",
            concurrency=1,
            load=Copies(plan=plan, directory=context.directory, way=way),
            floors=_AS_MANY,
            leaves_work=way == "pull",
            shows_megabytes=True,
        )
        for way in ways
    ]


def _remote(side: Side, tag: str) -> str:
    return f"docker://localhost:{side.port}/bench/images:{tag}"


def _write(blobs: Path, content: bytes, media_type: str) -> dict[str, object]:
    found = hashlib.sha256(content).hexdigest()
    (blobs / found).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{found}", "size": len(content)}


def _children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
