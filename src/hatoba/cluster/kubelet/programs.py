"""From a container's spec to the program that its shim executes."""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hatoba.cluster.catalog.identity import PodUser, own_code_user, pod_user
from hatoba.cluster.catalog.images import Image, Situation
from hatoba.cluster.kubelet.attempts import ProgramSpec
from hatoba.cluster.kubelet.context import NodeContext
from hatoba.cluster.kubelet.environment import (
    ConfigurationMissing,
    Sources,
    command_line,
    expand,
    resolve_environment,
    service_variables,
)
from hatoba.cluster.kubelet.mounts import Mount, Rewriter, build_root, normalise, source_below
from hatoba.cluster.objects import CONFIG_MAPS, SECRETS
from hatoba.kernel.json import JsonObject

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(slots=True, frozen=True, kw_only=True)
class ContainerPlace:
    """Where a container's files lie."""

    directory: Path

    @property
    def root(self) -> Path:
        """What stands for its file system."""
        return self.directory / "root"

    @property
    def temporary(self) -> Path:
        """Its directory for temporary files, also its home."""
        return self.directory / "tmp"

    @property
    def attempts(self) -> Path:
        """One directory per attempt, named by its number."""
        return self.directory / "attempts"


@dataclass(slots=True, frozen=True, kw_only=True)
class Assembly:
    """What a container is assembled from."""

    context: NodeContext
    pod: JsonObject
    spec: JsonObject
    image: Image
    place: ContainerPlace
    address: str
    volumes: Mapping[str, Path]

    def prepare(self) -> ProgramSpec:
        """Build the root directory and return the program.

        Raises:
            ConfigurationMissing: the spec refers to something that is not there.
            MountUnusable: its mounts do not fit together.
        """
        user = user_of(self.image)
        variables = self._variables()
        mounts = self._mounts(variables)
        for path in (self.place.directory, self.place.attempts):
            path.mkdir(parents=True, exist_ok=True, mode=0o711)
        build_root(self.place.root, mounts)
        self.place.temporary.mkdir(exist_ok=True, mode=0o700)
        if user is not None:
            os.chown(self.place.root, user.uid, user.gid)
            os.chown(self.place.temporary, user.uid, user.gid)
        rewriter = Rewriter(self.place.root, [mount.path for mount in mounts])
        command, arguments = command_line(self.spec, variables)
        situation = Situation(root=self.place.root, address=self.address)
        words = list(command or self.image.entrypoint(situation))
        words += arguments or ([] if command else self.image.arguments)
        if not words:
            raise ConfigurationMissing("no command specified")
        given = self.spec.get("workingDir")
        return ProgramSpec(
            argv=[rewriter.word(word) for word in words],
            env=self._around(situation) | rewriter.variables(variables),
            cwd=rewriter.path(given) if given else "/",
            uid=None if user is None else user.uid,
            gid=None if user is None else user.gid,
            stop_signal=signal.Signals[self.image.stop_signal].value,
            quick_signal=signal.Signals[self.image.quick_signal].value,
        )

    def _mounts(self, variables: Mapping[str, str]) -> list[Mount]:
        found = []
        for mount in self.spec.get("volumeMounts") or ():
            volume = self.volumes.get(mount["name"])
            if volume is None:
                raise ConfigurationMissing(f"volume {mount['name']!r} is not declared")
            below = mount.get("subPath") or expand(mount.get("subPathExpr") or "", variables)
            source = source_below(volume, below)
            if below and not source.exists():
                source.mkdir(parents=True)
                info = volume.stat()
                os.chown(source, info.st_uid, info.st_gid)
            found.append(Mount(path=normalise(mount["mountPath"]), source=source))
        return found

    def sources(self) -> Sources:
        """Return where the values of this pod's variables come from."""
        namespace = self.pod["metadata"]["namespace"]
        return value_sources(self.context, self.pod, self.address, namespace)

    def _variables(self) -> dict[str, str]:
        return resolve_environment(self.spec, self.sources())

    def _around(self, situation: Situation) -> dict[str, str]:
        """Return what is set before the spec's own variables."""
        namespace = self.pod["metadata"]["namespace"]
        settings = self.context.settings
        variables = {
            "PATH": f"{Path(sys.executable).parent}:{_PATH}",
            "HOME": str(self.place.temporary),
            "TMPDIR": str(self.place.temporary),
            "HOSTNAME": self.pod["metadata"]["name"],
            "LANG": "C.UTF-8",
        }
        if self.pod["spec"].get("enableServiceLinks", True):
            variables |= service_variables(self.context.services(namespace))
        variables |= {
            "KUBERNETES_SERVICE_HOST": settings.api_host,
            "KUBERNETES_SERVICE_PORT": str(settings.api_port),
            "KUBERNETES_SERVICE_PORT_HTTPS": str(settings.api_port),
        }
        variables |= self.context.name_variables(namespace)
        return variables | dict(self.image.variables(situation))


def value_sources(context: NodeContext, pod: JsonObject, address: str, namespace: str) -> Sources:
    """Return where the values of a pod come from."""
    return Sources(
        config_map=lambda name: context.lookup(CONFIG_MAPS, name, namespace),
        secret=lambda name: context.lookup(SECRETS, name, namespace),
        pod=pod,
        pod_ip=address,
        host_ip=context.settings.host_ip,
        allocatable=context.settings.allocatable,
    )


def user_of(image: Image) -> PodUser | None:
    """Return the user that an image's program is started as; None for our own."""
    if image.user == "launcher":
        return None
    return own_code_user() if image.user == "own" else pod_user()


def volume_owner() -> tuple[int, int] | None:
    """Return who owns the files of volumes."""
    user = pod_user()
    return None if user is None else (user.uid, user.gid)
