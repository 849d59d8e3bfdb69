"""The volumes of one pod, with the tokens that lie in them."""

from pathlib import Path
from typing import Final

from hatoba.cluster.kubelet.context import NodeContext
from hatoba.cluster.kubelet.programs import value_sources, volume_owner
from hatoba.cluster.kubelet.volumes import VolumeSet, VolumeSources
from hatoba.cluster.objects import CLAIMS, VOLUMES
from hatoba.kernel.json import JsonObject

_TOKEN_SECONDS: Final = 1800.0
"""After this a token is replaced by a new one, long before it expires."""


class PodVolumes:
    """Sets up one pod's volumes, again and again."""

    def __init__(self, context: NodeContext, directory: Path) -> None:
        self._context = context
        self._directory = directory / "volumes"
        self._tokens: dict[tuple[str, str], tuple[float, str]] = {}

    def set_up(self, pod: JsonObject, *, address: str) -> dict[str, Path]:
        """Return the volumes by name, their contents up to date.

        Raises:
            VolumeUnavailable: something that they need is not there.
        """
        context, namespace = self._context, str(pod["metadata"]["namespace"])
        sources = VolumeSources(
            values=value_sources(context, pod, address, namespace),
            claim=lambda name: context.lookup(CLAIMS, name, namespace),
            volume=lambda name: context.lookup(VOLUMES, name, ""),
            token=lambda account, audience: self._token(namespace, account, audience),
        )
        volumes = VolumeSet(directory=self._directory, sources=sources, owner=volume_owner())
        return volumes.set_up(pod)

    def _token(self, namespace: str, account: str, audience: str) -> str:
        now = self._context.clock.monotonic()
        known = self._tokens.get((account, audience))
        if known is None or known[0] < now:
            token = self._context.issue_token(namespace, account, audience)
            known = self._tokens[account, audience] = (now + _TOKEN_SECONDS, token)
        return known[1]
