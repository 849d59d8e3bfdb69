"""The volumes of a pod: which directory each one is, and what lies in it.

Secrets, ConfigMaps and projections are payloads (`payload`), written anew when their objects
change; an emptyDir and an ephemeral volume live as long as their pod; a claim is the directory of
its volume.
"""

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hatoba.cluster.kubelet.environment import (
    ConfigurationMissing,
    Sources,
    field_value,
    resource_value,
)
from hatoba.cluster.kubelet.payload import PayloadFile, write_payload
from hatoba.kernel.errors import HatobaError
from hatoba.kernel.json import JsonObject

_DEFAULT_MODE: Final = 0o644
_PAYLOADS: Final = ("secret", "configMap", "projected", "downwardAPI")


class VolumeUnavailable(HatobaError):
    """A volume cannot be set up (yet); the message is that of the FailedMount event."""


@dataclass(slots=True, frozen=True, kw_only=True)
class VolumeSources:
    """Where the contents of volumes come from."""

    values: Sources
    claim: Callable[[str], JsonObject | None]
    volume: Callable[[str], JsonObject | None]
    token: Callable[[str, str], str]
    """Issues a token for a service account of the pod's namespace and an audience ("" = ours)."""


@dataclass(slots=True, frozen=True, kw_only=True)
class VolumeSet:
    """The set-up of one pod's volumes below `directory`."""

    directory: Path
    sources: VolumeSources
    owner: tuple[int, int] | None

    def set_up(self, pod: JsonObject) -> dict[str, Path]:
        """Make every volume ready; calling again brings contents up to date.

        Raises:
            VolumeUnavailable: with the message of a FailedMount event.
        """
        found = {}
        for volume in pod["spec"].get("volumes") or ():
            name = volume["name"]
            try:
                found[name] = self._one(volume)
            except (ConfigurationMissing, OSError) as error:
                raise VolumeUnavailable(
                    f'MountVolume.SetUp failed for volume "{name}" : {error}'
                ) from error
        return found

    def _one(self, volume: JsonObject) -> Path:
        path: Path = self.directory / volume["name"]
        if any(kind in volume for kind in _PAYLOADS):
            write_payload(path, self._payload(volume), owner=self.owner)
            return path
        if claim := volume.get("persistentVolumeClaim"):
            return self._claimed(claim["claimName"])
        if host := volume.get("hostPath"):
            return self._host(host)
        # An ephemeral volume is a directory of the pod, too: no claim stands for it here.
        if "emptyDir" in volume or "ephemeral" in volume or len(volume) == 1:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self.owner is not None:
                os.chown(path, *self.owner)
            return path
        kinds = ", ".join(key for key in volume if key != "name")
        raise ConfigurationMissing(f"this cluster has no volumes of type {kinds}")

    def _payload(self, volume: JsonObject) -> dict[str, PayloadFile]:
        if projected := volume.get("projected"):
            mode = projected.get("defaultMode", _DEFAULT_MODE)
            files: dict[str, PayloadFile] = {}
            for source in projected.get("sources") or ():
                files |= self._projection(source, mode)
            return files
        if secret := volume.get("secret"):
            source = {"secret": {**secret, "name": secret["secretName"]}}
            return self._projection(source, secret.get("defaultMode", _DEFAULT_MODE))
        if config := volume.get("configMap"):
            return self._projection({"configMap": config}, config.get("defaultMode", _DEFAULT_MODE))
        downward = volume["downwardAPI"]
        return self._projection(
            {"downwardAPI": downward}, downward.get("defaultMode", _DEFAULT_MODE)
        )

    def _projection(self, source: JsonObject, mode: int) -> dict[str, PayloadFile]:
        if secret := source.get("secret"):
            return self._keys("secret", secret, mode)
        if config := source.get("configMap"):
            return self._keys("configmap", config, mode)
        if downward := source.get("downwardAPI"):
            return {
                item["path"]: PayloadFile(
                    content=self._downward(item).encode(), mode=item.get("mode", mode)
                )
                for item in downward.get("items") or ()
            }
        if token := source.get("serviceAccountToken"):
            account = self.sources.values.pod["spec"].get("serviceAccountName") or "default"
            text = self.sources.token(account, token.get("audience", ""))
            return {token["path"]: PayloadFile(content=text.encode(), mode=0o600)}
        raise ConfigurationMissing(f"unsupported projection: {', '.join(source)}")

    def _downward(self, item: JsonObject) -> str:
        values = self.sources.values
        if reference := item.get("fieldRef"):
            return field_value(reference["fieldPath"], values)
        reference = item["resourceFieldRef"]
        containers: Sequence[JsonObject] = values.pod["spec"]["containers"]
        named = [one for one in containers if one["name"] == reference["containerName"]]
        return resource_value(reference, named[0], values.allocatable)

    def _keys(self, kind: str, source: JsonObject, mode: int) -> dict[str, PayloadFile]:
        values = self.sources.values
        found = (values.secret if kind == "secret" else values.config_map)(source["name"])
        if found is None:
            if source.get("optional"):
                return {}
            raise ConfigurationMissing(f'{kind} "{source["name"]}" not found')
        contents = secret_contents(found) if kind == "secret" else config_map_contents(found)
        items = source.get("items")
        if not items:
            return {
                key: PayloadFile(content=content, mode=mode) for key, content in contents.items()
            }
        files = {}
        for item in items:
            if item["key"] in contents:
                files[item["path"]] = PayloadFile(
                    content=contents[item["key"]], mode=item.get("mode", mode)
                )
            elif not source.get("optional"):
                raise ConfigurationMissing(f"references non-existent {kind} key: {item['key']}")
        return files

    def _claimed(self, name: str) -> Path:
        claim = self.sources.claim(name)
        if claim is None:
            raise ConfigurationMissing(f'persistentvolumeclaim "{name}" not found')
        volume = self.sources.volume((claim.get("spec") or {}).get("volumeName") or "")
        if volume is None:
            raise ConfigurationMissing(f'persistentvolumeclaim "{name}" is not bound')
        host = volume["spec"].get("hostPath")
        if not host:
            raise ConfigurationMissing(f"volume {volume['metadata']['name']} is not a local one")
        return self._host(host)

    def _host(self, host: JsonObject) -> Path:
        path = Path(host["path"])
        if host.get("type") == "DirectoryOrCreate" and not path.exists():
            path.mkdir(parents=True, mode=0o700)
            if self.owner is not None:
                os.chown(path, *self.owner)
        if not path.exists():
            raise ConfigurationMissing(f"hostPath type check failed: {path} is not there")
        return path


def secret_contents(secret: JsonObject) -> dict[str, bytes]:
    """Return a Secret's values, decoded."""
    data: Mapping[str, str] = secret.get("data") or {}
    return {key: base64.b64decode(value) for key, value in data.items()}


def config_map_contents(config_map: JsonObject) -> dict[str, bytes]:
    """Return a ConfigMap's values."""
    text: Mapping[str, str] = config_map.get("data") or {}
    binary: Mapping[str, str] = config_map.get("binaryData") or {}
    return {key: value.encode() for key, value in text.items()} | {
        key: base64.b64decode(value) for key, value in binary.items()
    }
