"""What the operator writes beside a registry's objects: its spec, its bundle, its keys.

Each is written before anything uses it, so that a pass that is cut off between two writes finds
its own work again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from hatoba.kernel.clock import Clock
from hatoba.kernel.errors import Conflict
from hatoba.kernel.json import JsonObject
from hatoba.operator import certificates, keys, names, objects
from hatoba.operator.bundle import Bundle
from hatoba.operator.configuration import default_configuration
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.landscape import TlsSource, Way
from hatoba.operator.model import OperatorSettings, Owned, Reason, RegistryPlan, RolloutBlocked
from hatoba.operator.observation import Observation
from hatoba.operator.texts import dump_yaml

log = structlog.get_logger()


class Keeper:
    """Keeps what must outlive a pass."""

    def __init__(self, cluster: Cluster, *, settings: OperatorSettings, clock: Clock) -> None:
        self._cluster = cluster
        self._settings = settings
        self._clock = clock

    async def give_bundle(self, registry: JsonObject) -> None:
        """Create a bundle of defaults and name it in the spec.

        A pass that was cut off between the two finds its own Secret again.
        """
        metadata = registry["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        prefix = f"{name}-config-bundle-"
        listing = await self._cluster.list("Secret", namespace=namespace, labelled=True)
        mine = Owned(listing.items, owner_uid=metadata["uid"]).of_kind("Secret")
        found = next((obj for obj in mine if obj["metadata"]["name"].startswith(prefix)), None)
        if found is None:
            found = await self._cluster.create(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "type": "Opaque",
                    "metadata": {
                        "generateName": prefix,
                        "namespace": namespace,
                        "labels": {names.REGISTRY_LABEL: name},
                        "ownerReferences": [_owner(registry)],
                    },
                    "data": keys.encode(
                        {"config.yaml": dump_yaml(default_configuration(self._settings)).decode()}
                    ),
                }
            )
        await self.write_spec(registry, {"configBundleSecret": found["metadata"]["name"]})

    async def write_spec(
        self, registry: JsonObject, spec: JsonObject, *, finalizers: Sequence[str] | None = None
    ) -> None:
        """Write into a spec, and finalizers with it, if it is still what was looked at."""
        metadata = registry["metadata"]
        patch: JsonObject = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "spec": spec,
        }
        if finalizers is not None:
            patch["metadata"]["finalizers"] = list(finalizers)
        await self._cluster.merge(
            names.KIND, metadata["name"], patch, namespace=metadata["namespace"]
        )

    def supposed_keys(self, observation: Observation, bundle: Bundle) -> dict[str, str]:
        """Return keys to judge a plan by; what is missing is made up and stored nowhere."""
        return _completed(observation.stored_keys, observation, bundle)

    async def keep_keys(self, observation: Observation, bundle: Bundle) -> dict[str, str]:
        """Return the registry's keys; whatever is new in them is stored first."""
        metadata = observation.registry["metadata"]
        name, namespace = keys.secret_name(observation.name), metadata["namespace"]
        known = observation.stored_keys or _recovered(observation)
        complete = _completed(known, observation, bundle)
        check_database_key(known, complete, bundle=bundle.name, registry=observation.name)
        if complete == observation.stored_keys:
            return complete
        if not observation.stored_keys:
            secret = {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "Opaque",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "labels": {names.REGISTRY_LABEL: observation.name},
                    "ownerReferences": [_owner(observation.registry)],
                },
                "data": keys.encode(complete),
            }
            # On a Conflict another pass was first: the queue brings us back to read its keys.
            await self._cluster.create(secret)
            return complete
        await self._add_keys(observation, complete)
        return complete

    async def _add_keys(self, observation: Observation, complete: dict[str, str]) -> None:
        name = keys.secret_name(observation.name)
        namespace = observation.registry["metadata"]["namespace"]
        live = await self._cluster.get("Secret", name, namespace=namespace)
        if keys.decode(live) != observation.stored_keys:
            raise Conflict(f"the keys in {name} changed in between")
        await self._cluster.merge(
            "Secret",
            name,
            {
                "metadata": {"resourceVersion": live["metadata"]["resourceVersion"]},
                "data": keys.encode(complete),
            },
            namespace=namespace,
        )

    async def keep_owner(self, plan: RegistryPlan, owned: Owned) -> None:
        """Let the keys go with the registry's data: owned by the registry, or by nobody.

        Called before volumes lose their owner and after they have one again: there is no moment
        at which data would stay and its keys go.
        """
        name = keys.secret_name(plan.name)
        secret = owned.get("Secret", name)
        if secret is None:
            return
        wanted = [] if plan.retained else [objects.owner(plan.name, uid=plan.uid)]
        if (secret["metadata"].get("ownerReferences") or []) == wanted:
            return
        log.info("keys given", namespace=plan.namespace, name=plan.name, retained=plan.retained)
        patch = {"metadata": {"ownerReferences": wanted or None}}
        await self._cluster.merge("Secret", name, patch, namespace=plan.namespace)

    async def keep_pair(
        self, observation: Observation, plan: RegistryPlan, stored: dict[str, str]
    ) -> RegistryPlan:
        """Return the plan with a certificate of our own, if it needs one; a new one is stored."""
        if plan.tls_source is not TlsSource.SELF_SIGNED:
            return plan
        hosts = [plan.public_host]
        if plan.editor_host and plan.exposure.way is Way.INGRESS:
            hosts.append(plan.editor_host)
        now = self._clock.now()
        if plan.pair is not None and certificates.serves(plan.pair, hosts, now=now):
            return plan
        pair = certificates.self_signed(hosts, now=now)
        log.info("certificate signed", namespace=plan.namespace, name=plan.name, hosts=hosts)
        texts = {
            keys.TLS_CERTIFICATE: pair.certificate.decode(),
            keys.TLS_KEY: pair.key.decode(),
        }
        current = await self._cluster.get(
            "Secret", keys.secret_name(plan.name), namespace=plan.namespace
        )
        await self._add_keys(
            replace(observation, stored_keys=keys.decode(current)), {**stored, **texts}
        )
        return replace(plan, pair=pair)


def _completed(
    known: Mapping[str, str], observation: Observation, bundle: Bundle
) -> dict[str, str]:
    managed = any(entry.kind == "postgres" and entry.managed for entry in observation.listed)
    return keys.complete(known, bundle.config, registry=observation.name, postgres_managed=managed)


def check_database_key(
    known: Mapping[str, str], complete: Mapping[str, str], *, bundle: str, registry: str
) -> None:
    """Refuse another key than that with which the database's contents are encrypted.

    Raises:
        RolloutBlocked: the bundle brings one.
    """
    key = keys.DATABASE_SECRET_KEY
    if known.get(key) and known[key] != complete[key]:
        raise RolloutBlocked(
            Reason.CONFIG_INVALID,
            f"{key} in `configBundleSecret` is not the one with which the registry's database is "
            "encrypted",
            step=f"take {key} out of config.yaml of Secret {bundle}; if the database was brought "
            f"from elsewhere and is encrypted with it, write it into Secret "
            f"{keys.secret_name(registry)} first",
        )


def _recovered(observation: Observation) -> dict[str, str]:
    """Return keys whose own Secret is gone, from where else they stand.

    Raises:
        RolloutBlocked: there is a database that nobody has the password of any more.
    """
    name = observation.name
    found = keys.recover(observation.owned.of_kind("Secret"), registry=name)
    if found:
        log.warning("keys recovered", name=name, keys=sorted(found))
    elif observation.status.get("currentVersion"):
        raise RolloutBlocked(
            Reason.CREATION_FAILED,
            f"the Secret {keys.secret_name(name)} is gone, and with it the keys to this "
            "registry's data",
            step="restore it from a backup",
        )
    return found


def _owner(registry: JsonObject) -> JsonObject:
    metadata = registry["metadata"]
    return objects.owner(metadata["name"], uid=metadata["uid"])
