"""Values that the pure steps hand to each other: what was asked, what is there, what to make.

`RegistryPlan` is the only argument of every component: whatever decides how an object looks is in
it, so two equal plans render byte-identical objects.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from hatoba.kernel.errors import HatobaError
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.backup.types import Vault
from hatoba.operator.datastores import DataStore
from hatoba.operator.landscape import Capabilities, Exposure, TlsSource, Volume, Way
from hatoba.operator.overrides import NOTHING, Overrides


@dataclass(slots=True, frozen=True, kw_only=True)
class Component:
    """One entry of `spec.components`."""

    kind: str
    managed: bool
    overrides: JsonObject = field(default_factory=dict, compare=False)
    """As they stand in the spec; `overrides.read` judges them."""
    secret: str | None = None
    """The name in its secretRef, None without one."""

    @property
    def wire(self) -> JsonObject:
        """The entry as it stands in the spec."""
        overrides = {"overrides": self.overrides} if self.overrides else {}
        secret = {} if self.secret is None else {"secretRef": {"name": self.secret}}
        return {"kind": self.kind, "managed": self.managed, **overrides, **secret}


@dataclass(slots=True, frozen=True, kw_only=True)
class Images:
    """Image references, each overridable by RELATED_IMAGE_COMPONENT_*."""

    quay: str = "hatoba:0.1.0"
    """Every pod of our own: registry, migration, mirror, scanner and editor."""
    postgres: str = "quay.io/sclorg/postgresql-13-c9s:latest"
    clair_postgres: str = "quay.io/sclorg/postgresql-15-c9s:latest"
    redis: str = "quay.io/sclorg/redis-7-c9s:latest"
    clair: str = "hatoba:0.1.0"


@dataclass(slots=True, frozen=True, kw_only=True)
class OperatorSettings:
    """What the operator was started with."""

    quay_version: str = names.DEFAULT_QUAY_VERSION
    namespace: str = ""
    """Where the operator itself runs; "" outside a cluster."""
    watch_namespace: str = ""
    """The only namespace it looks after; "" means all."""
    endpoint_override: str = ""
    images: Images = field(default_factory=Images)
    skip_resource_requests: bool = False
    red_hat_branding: bool = False

    @property
    def endpoint(self) -> str:
        """Where a config editor sends a new configuration."""
        if self.endpoint_override:
            return self.endpoint_override
        suffix = f".{self.namespace}" if self.namespace else ""
        return f"http://quay-operator{suffix}:7071"


@dataclass(slots=True, frozen=True, kw_only=True)
class ManagedKeys:
    """Secrets that are generated once and kept for the life of the registry.

    They live in one Secret and are written there before anything that uses them exists.
    """

    secret_key: str
    database_secret_key: str
    db_uri: str
    db_root_password: str
    scanner_psk: str
    clair_db_password: str
    clair_db_root_password: str
    editor_password: str


@dataclass(slots=True, frozen=True, kw_only=True)
class CertificatePair:
    """A certificate and its private key, as PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(slots=True, frozen=True, kw_only=True)
class Bucket:
    """A bound ObjectBucketClaim."""

    host: str
    name: str
    access_key: str
    secret_key: str


@dataclass(slots=True, frozen=True, kw_only=True)
class Restoration:
    """A backup in a vault, to be restored before the first migration."""

    vault: Vault
    backup: str


@dataclass(slots=True, frozen=True, kw_only=True)
class RegistryPlan:
    """Everything that decides how the objects of one registry look."""

    name: str
    namespace: str
    uid: str
    settings: OperatorSettings
    components: tuple[Component, ...]
    capabilities: Capabilities
    bundle_name: str = ""
    """The Secret that the user's configuration comes from."""
    config: JsonObject
    """The user's config.yaml, parsed."""
    files: Mapping[str, bytes] = field(repr=False)
    """The other keys of the user's bundle."""
    keys: ManagedKeys = field(repr=False)
    hostname: str
    """SERVER_HOSTNAME: host, and port unless it is the scheme's own."""
    exposure: Exposure = field(default_factory=Exposure)
    pair: CertificatePair | None = field(default=None, repr=False)
    """A pair that the operator itself keeps, or that cert-manager gave it."""
    service_authorities: JsonObject = field(default_factory=dict)
    """What OpenShift wrote into the ConfigMap for its service authority."""
    bucket: Bucket | None = None
    access_mode: str = "ReadWriteMany"
    """How the volume with blobs is shared, where blobs lie in a volume."""
    overrides: Mapping[str, Overrides] = field(default_factory=dict)
    """By component kind."""
    retained: bool = False
    """True when the registry's data outlives it."""
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    """By the name of the claim, without the registry's prefix."""
    stores: Mapping[str, DataStore] = field(default_factory=dict)
    """By the name of the database's Deployment, or of the blobs' first claim, without prefix."""
    released: frozenset[str] = frozenset()
    """Claims from before a move that may be deleted, by their full names."""
    migrating: bool = True
    """True until the database has the schema of `settings.quay_version`."""
    restoration: "Restoration | None" = None
    """The backup that the database comes from, until it is there."""
    upgrading: bool = False
    """True while that is a later migration than the first: pods of the old version serve on."""

    def manages(self, kind: str) -> bool:
        """Tell whether a component is the operator's job."""
        if kind == "quay":
            return True
        if kind == "clairpostgres" and not self.lists(kind):
            kind = "clair"
        return any(entry.kind == kind and entry.managed for entry in self.components)

    def lists(self, kind: str) -> bool:
        """Tell whether the spec has an entry for a component."""
        return any(entry.kind == kind for entry in self.components)

    def overridden(self, kind: str) -> Overrides:
        """Return the overrides of a component."""
        return self.overrides.get(kind, NOTHING)

    def store(self, database: str) -> DataStore:
        """Return where a managed database lives; what is new lives in a claim of its name."""
        images = self.settings.images
        image = images.postgres if database == "quay-database" else images.clair_postgres
        return self.stores.get(database, DataStore(claim=database, image=image))

    @property
    def prefix(self) -> str:
        """What every object's name starts with, but for Jobs."""
        return f"{self.name}-"

    def job_name(self, suffix: str) -> str:
        """Return the name of a Job."""
        return names.job_name(self.name, suffix)

    @property
    def own_certificate(self) -> bool:
        """True when the registry terminates TLS itself, with the certificate of the bundle."""
        return {"ssl.cert", "ssl.key"} <= self.files.keys()

    @property
    def tls_secret(self) -> str:
        """The Secret of the user's that holds that certificate in place of the bundle; or ""."""
        return next((one.secret or "" for one in self.components if one.kind == "tls"), "")

    @property
    def certificate_place(self) -> str:
        """Where the user keeps that certificate and its key, in words."""
        if self.tls_secret:
            return f"tls.crt and tls.key of Secret {self.tls_secret}"
        return f"ssl.cert and ssl.key of Secret {self.bundle_name}"

    @property
    def is_exposed(self) -> bool:
        """True when the operator serves people outside the cluster, at a host that is known."""
        return self.manages("route") and self.exposure.is_outside and bool(self.public_host)

    @property
    def public_host(self) -> str:
        """The host without port by which people outside reach the registry; "" inside only."""
        if self.hostname == inside_address(self.name, self.namespace):
            return ""
        return self.hostname.partition(":")[0]

    @property
    def editor_host(self) -> str:
        """The host of the config editor, where Routes do not choose one; "" when unknown."""
        exposure = self.exposure
        if exposure.editor_host or not exposure.domain:
            return exposure.editor_host
        label = names.fitting(f"{self.name}-quay-config-editor-{self.namespace}")
        return f"{label}.{exposure.domain}"

    @property
    def tls_source(self) -> TlsSource:
        """Where the certificate comes from that clients see."""
        way = self.exposure.way
        if way is Way.GATEWAY and self.manages("route") and not self.passes_through:
            listener = self.exposure.listener
            secure = listener is not None and listener.protocol != "HTTP"
            return TlsSource.GATEWAY if secure else TlsSource.NONE
        if self.own_certificate:
            return TlsSource.BUNDLE
        if way is Way.ROUTE or (self.capabilities.routes and not self.manages("route")):
            return TlsSource.CLUSTER
        if not self.is_exposed or not self.manages("tls"):
            return TlsSource.NONE
        return TlsSource.ISSUER if self.exposure.issuer else TlsSource.SELF_SIGNED

    @property
    def passes_through(self) -> bool:
        """True when a Gateway hands encrypted bytes on to the registry."""
        listener = self.exposure.listener
        return listener is not None and listener.passthrough

    @property
    def ends_tls_itself(self) -> bool:
        """True when the registry's own pods hold a certificate."""
        return self.own_certificate or bool(self.served_pair)

    @property
    def served_pair(self) -> Mapping[str, bytes]:
        """Certificate and key as the registry's pods mount them, beside those of the bundle."""
        if self.pair is None or self.exposure.way is not Way.SERVICE:
            return {}
        return {"ssl.cert": self.pair.certificate, "ssl.key": self.pair.key}

    @property
    def scheme(self) -> str:
        """The scheme of the registry's address."""
        if not self.manages("route") and (given := self.config.get("PREFERRED_URL_SCHEME")):
            return str(given)
        return "http" if self.tls_source is TlsSource.NONE else "https"

    @property
    def builder_hostname(self) -> str:
        """The host of BUILDMAN_HOSTNAME, "" when builds are not configured."""
        return str(self.config.get("BUILDMAN_HOSTNAME", "")).partition(":")[0]


class Reason(StrEnum):
    """Reasons of conditions, as Quay's operator spells them."""

    HEALTH_CHECKS_PASSING = "HealthChecksPassing"
    MIGRATIONS_IN_PROGRESS = "MigrationsInProgress"
    MIGRATIONS_FAILED = "MigrationsFailed"
    MIGRATIONS_JOB_MISSING = "MigrationsJobMissing"
    CREATION_SUCCESS = "ComponentsCreationSuccess"
    CREATION_FAILED = "ComponentCreationFailed"
    ROUTE_DEPENDENCY = "RouteComponentDependencyError"
    OBJECT_STORAGE_DEPENDENCY = "ObjectStorageComponentDependencyError"
    MONITORING_DEPENDENCY = "MonitoringComponentDependencyError"
    CONFIG_INVALID = "ConfigInvalid"
    READY = "ComponentReady"
    NOT_READY = "ComponentNotReady"
    NOT_MANAGED = "ComponentNotManaged"
    OVERRIDE_INVALID = "ComponentOverrideInvalid"
    CLAIM_PENDING = "PVCPending"
    CLAIM_FAILED = "PVCProvisioningFailed"
    POSTGRES_UPGRADE = "PostgresUpgradeInProgress"
    POSTGRES_UPGRADE_FAILED = "PostgresUpgradeFailed"
    STORAGE_MOVE = "StorageMoveInProgress"
    STORAGE_MOVE_FAILED = "StorageMoveFailed"
    """Ours, as the other: Quay's operator moves no volumes."""
    DOWNGRADE_REFUSED = "DowngradeRefused"
    """Ours: Quay's operator goes back without a word."""


class RolloutBlocked(HatobaError):
    """The registry cannot be rolled out as it was asked for; nothing of it was changed."""

    def __init__(self, reason: Reason, fact: str, *, step: str) -> None:
        self.reason = reason
        self.fact = fact
        """What is wrong, beginning with the words of Quay's operator."""
        self.step = step
        """What a person does about it."""
        super().__init__(f"{fact}: {step}")


class InputRefused(RolloutBlocked):
    """What was asked for is wrong in itself: only a change of what is watched makes it right.

    The registry, its bundle, and what carries its label are watched, so that nobody has to look
    often. Rights, quotas, webhooks and other servers are not: for them it is `RolloutBlocked`.
    """


@dataclass(slots=True, frozen=True, kw_only=True)
class Verdict:
    """Whether a component works, as a Component*Ready condition says it."""

    ready: bool
    reason: Reason
    message: str
    step: str = ""
    """What a person does about it; the message ends with it."""
    diagnosed: bool = False
    """True when something is known to be wrong, beyond not being ready yet."""

    @classmethod
    def good(cls, message: str) -> "Verdict":
        """Managed and healthy."""
        return cls(ready=True, reason=Reason.READY, message=message)

    @classmethod
    def bad(
        cls,
        fact: str,
        *,
        step: str,
        diagnosed: bool = False,
        reason: Reason = Reason.NOT_READY,
    ) -> "Verdict":
        """Managed and not (yet) healthy; the fact begins with the words of Quay's operator."""
        return cls(
            ready=False,
            reason=reason,
            message=f"{fact}: {step}",
            step=step,
            diagnosed=diagnosed,
        )

    @classmethod
    def unmanaged(cls, message: str) -> "Verdict":
        """Somebody else's job: true, with a reason that says so."""
        return cls(ready=True, reason=Reason.NOT_MANAGED, message=message)


Kind = Literal[
    "ServiceAccount",
    "ConfigMap",
    "Secret",
    "Service",
    "PersistentVolumeClaim",
    "Deployment",
    "Job",
    "HorizontalPodAutoscaler",
    "ObjectBucketClaim",
    "Route",
    "HTTPRoute",
    "TLSRoute",
    "Ingress",
    "Certificate",
    "Role",
    "RoleBinding",
    "ServiceMonitor",
    "PrometheusRule",
]


DATA_KINDS: Final = frozenset({"PersistentVolumeClaim", "ObjectBucketClaim"})
"""What holds data, and stays without an owner where that is to outlive the registry."""


class Owned:
    """The objects that exist for one registry, found by kind and name."""

    def __init__(
        self,
        objects: Iterable[JsonObject],
        *,
        owner_uid: str,
        events: Iterable[JsonObject] = (),
    ) -> None:
        self._owner_uid = owner_uid
        self._objects = {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}
        self._events = tuple(events)
        self._by_kind: dict[str, list[JsonObject]] = {}
        """What belongs to the registry, by name. Every component asks several times in a pass."""
        for (kind, _), obj in sorted(self._objects.items(), key=lambda item: item[0]):
            if self.belongs(obj):
                self._by_kind.setdefault(kind, []).append(obj)

    def with_events(self, events: Iterable[JsonObject]) -> "Owned":
        """Return the same objects, and what the cluster told about them."""
        return Owned(self._objects.values(), owner_uid=self._owner_uid, events=events)

    def plus(self, obj: JsonObject) -> "Owned":
        """Return the same objects and one more."""
        return Owned([*self._objects.values(), obj], owner_uid=self._owner_uid, events=self._events)

    def told_about(self, kind: str, name: str, reasons: Collection[str]) -> str:
        """Return the message of the newest event about an object with one of these reasons."""
        found = [
            event
            for event in self._events
            if event.get("reason") in reasons
            and event["involvedObject"].get("kind") == kind
            and event["involvedObject"].get("name") == name
        ]
        newest = max(found, key=lambda event: str(event.get("lastTimestamp") or ""), default={})
        return str(newest.get("message") or "")

    def pods(self, labels: Mapping[str, str]) -> list[JsonObject]:
        """Return the registry's pods that carry all these labels, newest first."""
        found = [
            obj
            for (kind, _), obj in self._objects.items()
            if kind == "Pod" and labels.items() <= (obj["metadata"].get("labels") or {}).items()
        ]
        return sorted(
            found,
            key=lambda pod: (
                str(pod["metadata"].get("creationTimestamp", "")),
                pod["metadata"]["name"],
            ),
            reverse=True,
        )

    def get(self, kind: str, name: str) -> JsonObject | None:
        """Return the object of that name, whoever owns it."""
        return self._objects.get((kind, name))

    def of_kind(self, kind: str) -> list[JsonObject]:
        """Return all objects of a kind that belong to the registry, by name."""
        return list(self._by_kind.get(kind, ()))

    def every(self, kind: str) -> list[JsonObject]:
        """Return all objects of a kind that name the registry, whoever owns them."""
        return [obj for (found, _), obj in self._objects.items() if found == kind]

    def belongs(self, obj: JsonObject) -> bool:
        """Tell whether the registry is an owner of the object, or its data has none."""
        owners = obj["metadata"].get("ownerReferences") or []
        if not owners and obj["kind"] in DATA_KINDS:
            return True
        return any(owner.get("uid") == self._owner_uid for owner in owners)


def inside_address(name: str, namespace: str) -> str:
    """Return where a registry is reached inside the cluster: its Service, without TLS."""
    return f"{name}-quay-app.{namespace}.svc:8080"


DATA_STORE: Final = "quay-datastore"
