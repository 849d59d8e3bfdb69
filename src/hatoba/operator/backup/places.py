"""What both kinds need in their namespace: the vault's Secrets, and what their Jobs said."""

from collections.abc import Mapping
from typing import Final

from hatoba.kernel.errors import InvalidInput, NotFound
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.backup import outcome
from hatoba.operator.backup.specs import NotReady
from hatoba.operator.backup.types import Vault
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.runtime.informer import Informer

_LOG_LINES: Final = 30


class Places:
    """Looks at a namespace on behalf of backups and restorations."""

    def __init__(self, cluster: Cluster, informers: Mapping[str, Informer]) -> None:
        self._cluster = cluster
        self._informers = informers

    async def check_vault(self, vault: Vault, *, namespace: str) -> None:
        """See that the vault's Secrets are there; a claim's pods say the rest.

        Raises:
            NotReady: one is missing.
        """
        if (vault.claimName is None) == (vault.s3 is None):
            raise NotReady("SpecInvalid", "spec.vault must name exactly one of claimName and s3")
        wanted: dict[str, tuple[str, ...]] = {vault.keySecret: ("key",)}
        if vault.s3 is not None:
            wanted[vault.s3.credentialsSecret] = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        for name, expected in wanted.items():
            secret = await self._cluster.find("Secret", name, namespace=namespace)
            if secret is None:
                raise NotReady("SecretMissing", f"create Secret {name} with {_words(expected)}")
            missing = [key for key in expected if not (secret.get("data") or {}).get(key)]
            if missing:
                raise NotReady("SecretMissing", f"Secret {name} lacks {_words(missing)}")

    def jobs_of(self, owner: JsonObject) -> list[JsonObject]:
        """Return the Jobs of a backup or restoration, the oldest first."""
        uid = owner["metadata"]["uid"]
        found = [
            job
            for job in self._informers["Job"].objects()
            if any(one.get("uid") == uid for one in job["metadata"].get("ownerReferences") or [])
        ]
        return sorted(found, key=lambda job: str(job["metadata"].get("creationTimestamp", "")))

    async def last_words(self, job: JsonObject, *, container: str) -> list[str]:
        """Return what a Job's last pod said at its end; nothing when it is gone."""
        metadata = job["metadata"]
        pods = [
            pod
            for pod in self._informers["Pod"].objects()
            if pod["metadata"].get("namespace") == metadata["namespace"]
            and (pod["metadata"].get("labels") or {}).get(names.BACKUP_LABEL)
        ]
        pod = outcome.newest_pod(pods, metadata["name"])
        if pod is None:
            return []
        try:
            return await self._cluster.log(
                pod, container, namespace=metadata["namespace"], lines=_LOG_LINES
            )
        except (NotFound, InvalidInput):
            # The pod went meanwhile, or never had a container that ran.
            return []


def _words(keys: object) -> str:
    assert isinstance(keys, (tuple, list))
    return "the key" + ("s " if len(keys) > 1 else " ") + " and ".join(keys)
