"""`postgres`: the registry's database, and the Job that gives it the trigram extension."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from hatoba.config.schema.stores import DEFAULT_CONNECTIONS, LEAST_CONNECTIONS
from hatoba.kernel.json import JsonObject
from hatoba.operator import names, objects
from hatoba.operator.components import deployments
from hatoba.operator.components.contract import ComponentType, Mounts
from hatoba.operator.components.horizontalpodautoscaler import MOST_PODS
from hatoba.operator.components.quay import workers_of_pod
from hatoba.operator.datastores import DataMove
from hatoba.operator.diagnosis import of_workload
from hatoba.operator.model import Owned, Reason, RegistryPlan, Verdict
from hatoba.operator.stores import CHECK, COPY

DATABASE: Final = "quay-database"
INIT: Final = "quay-postgres-init"
GRACE_SECONDS: Final = 180
ADDRESS_VARIABLE: Final = "HATOBA_POD_ADDRESS"
ACCEPTS_CONNECTIONS: Final = (
    f'exec pg_isready --quiet --host="${ADDRESS_VARIABLE}" --port="${{PGPORT:-5432}}"'
    ' --username="$POSTGRESQL_USER" --dbname="$POSTGRESQL_DATABASE"'
)
"""Asks whether PostgreSQL lets somebody in, not just whether its port is open: that it is while a
crash is being recovered from, or a database shuts down. Asked by the pod's address, since the image
makes its databases with a server that only listens on a socket. There is no liveness or startup
probe on purpose: either would kill a recovery that takes long, and begin it anew."""


SHARED_BUFFERS: Final = "256MB"
MOST_CONNECTIONS: Final = 2000
_PODS: Final = 2
"""Of the registry, and of its mirror, where nobody says otherwise."""
_PROBE_SECONDS: Final = 5
_PATH: Final = "/var/lib/pgsql/data"
_OLD_PORT: Final = 5433
_RECOVERY_SECONDS: Final = 3600
"""How long a server of a copy may take to recover, or to be made."""


def database_claims(
    plan: RegistryPlan, base: str, *, component: str, label: str
) -> list[JsonObject]:
    """Return the claims of a database: where it lives, where it moves to, what it has left."""
    store = plan.store(base)
    wanted = [(store.claim, store.image, store.copied)]
    wanted += [(suffix, "", suffix != base) for suffix in store.kept]
    if store.move is not None:
        wanted.append((store.move.claim, store.move.image, False))
    found = []
    for suffix, image, copied in wanted:
        if plan.prefix + suffix in plan.released and suffix in store.kept:
            continue
        claim = objects.claim(plan, suffix, component=component, label=label)
        if image:
            claim["metadata"]["annotations"][names.IMAGE_ANNOTATION] = image
        if copied:
            claim["metadata"]["annotations"][names.COPIED_ANNOTATION] = "true"
        found.append(claim)
    return found


def copy_jobs(
    plan: RegistryPlan, base: str, *, component: str, label: str, credentials: str
) -> list[JsonObject]:
    """Return the Job that moves a database into another claim, if it is to move.

    Before anything is stopped for it, that is the Job which tries the claim. Then both servers run
    beside the copy, as sidecars (Kubernetes 1.29), on the pod's own address: what is being moved
    has no Service.
    """
    store = plan.store(base)
    if store.move is None:
        return []
    if not store.move.checked:
        return [_check_job(plan, base, store.move, component=component, label=label)]
    claims = {"old": store.claim, "new": store.move.claim}
    pod = {
        "restartPolicy": "Never",
        "serviceAccountName": plan.prefix + base,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "initContainers": [
            _sidecar("old", image=store.image, port=_OLD_PORT, credentials=credentials),
            _sidecar("new", image=store.move.image, port=5432, credentials=credentials),
        ],
        "containers": [
            {
                "name": "copy",
                "image": plan.settings.images.quay,
                "args": ["registry", "copy-database", f"--from-port={_OLD_PORT}", "--to-port=5432"],
                "env": [
                    objects.secret_variable(
                        "PGPASSWORD", secret=credentials, key="database-root-password"
                    ),
                    objects.field_variable(ADDRESS_VARIABLE, "status.podIP"),
                ],
            }
        ],
        "volumes": [
            {"name": name, "persistentVolumeClaim": {"claimName": plan.prefix + suffix}}
            for name, suffix in claims.items()
        ],
    }
    return [
        objects.job(
            plan,
            store.move.claim + COPY,
            component=component,
            label=label + COPY,
            pod_label=label + COPY,
            pod=pod,
            backoff_limit=2,
        )
    ]


def _check_job(
    plan: RegistryPlan, base: str, move: DataMove, *, component: str, label: str
) -> JsonObject:
    """Return the Job that starts a move's image on its claim, and writes nothing.

    Beside the database, whose volume the copy needs too: a volume that is made for its first pod
    has to be where both can be had.
    """
    beside = {
        "labelSelector": {"matchLabels": objects.labels(plan, label=label)},
        "topologyKey": "kubernetes.io/hostname",
    }
    pod = {
        "restartPolicy": "Never",
        "serviceAccountName": plan.prefix + base,
        "affinity": {
            "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [beside]},
        },
        "containers": [
            {
                "name": "check",
                "image": move.image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", 'test -w "$HATOBA_CLAIM" || { id; exit 1; }'],
                "env": [{"name": "HATOBA_CLAIM", "value": _PATH}],
                "resources": objects.resources(("10m", "32Mi")),
                "volumeMounts": [{"name": "new", "mountPath": _PATH}],
            }
        ],
        "volumes": [
            {
                "name": "new",
                "persistentVolumeClaim": {"claimName": plan.prefix + move.claim},
            }
        ],
    }
    obj = objects.job(
        plan,
        move.claim + CHECK,
        component=component,
        label=label + CHECK,
        pod_label=label + CHECK,
        pod=pod,
        backoff_limit=2,
    )
    obj["metadata"]["annotations"][names.IMAGE_ANNOTATION] = move.image
    return obj


def _sidecar(name: str, *, image: str, port: int, credentials: str) -> JsonObject:
    """Return a server of a copy."""
    pod = database_pod(image=image, credentials=credentials, claim="", account="", connections=100)
    container: JsonObject = {**pod["containers"][0]}
    probe = {
        **container.pop("readinessProbe"),
        "failureThreshold": _RECOVERY_SECONDS // _PROBE_SECONDS,
    }
    return container | {
        "name": name,
        "env": [*container["env"], {"name": "PGPORT", "value": str(port)}],
        "restartPolicy": "Always",
        "startupProbe": probe,
        # Two of them fit where the database was that is stopped for them.
        "resources": objects.resources(("250m", "1Gi")),
        "ports": [{"containerPort": port, "protocol": "TCP"}],
        "volumeMounts": [{"name": name, "mountPath": _PATH}],
    }


def database_pod(
    *, image: str, credentials: str, claim: str, account: str, connections: int
) -> JsonObject:
    """Return the pod of a PostgreSQL server that keeps its data in a claim."""
    return {
        "serviceAccountName": account,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "containers": [
            {
                "name": "postgres",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": 5432, "protocol": "TCP"}],
                "env": [
                    objects.secret_variable(
                        "POSTGRESQL_USER", secret=credentials, key="database-username"
                    ),
                    objects.secret_variable(
                        "POSTGRESQL_DATABASE", secret=credentials, key="database-name"
                    ),
                    objects.secret_variable(
                        "POSTGRESQL_ADMIN_PASSWORD",
                        secret=credentials,
                        key="database-root-password",
                    ),
                    objects.secret_variable(
                        "POSTGRESQL_PASSWORD", secret=credentials, key="database-password"
                    ),
                    {"name": "POSTGRESQL_SHARED_BUFFERS", "value": SHARED_BUFFERS},
                    {"name": "POSTGRESQL_MAX_CONNECTIONS", "value": str(connections)},
                    objects.field_variable(ADDRESS_VARIABLE, "status.podIP"),
                ],
                "readinessProbe": {
                    "exec": {"command": ["sh", "-c", ACCEPTS_CONNECTIONS]},
                    "periodSeconds": _PROBE_SECONDS,
                    "timeoutSeconds": 5,
                },
                "resources": objects.resources(("500m", "2Gi")),
                "volumeMounts": [{"name": "postgres-data", "mountPath": _PATH}],
            }
        ],
        "volumes": [{"name": "postgres-data", "persistentVolumeClaim": {"claimName": claim}}],
    }


def _credentials(plan: RegistryPlan) -> JsonObject:
    parts = urlsplit(plan.keys.db_uri)
    return objects.generated_secret(
        plan,
        "postgres-config-secret",
        {
            "database-username": unquote(parts.username or "").encode(),
            "database-password": unquote(parts.password or "").encode(),
            "database-name": parts.path.lstrip("/").encode(),
            "database-root-password": plan.keys.db_root_password.encode(),
        },
    )


def _objects(plan: RegistryPlan, _mounts: Mounts) -> Sequence[JsonObject]:
    name = plan.prefix + DATABASE
    credentials = _credentials(plan)
    secret = credentials["metadata"]["name"]
    init_pod = {
        "restartPolicy": "Never",
        "containers": [
            {
                "name": INIT,
                "image": plan.settings.images.quay,
                "args": ["registry", "init-database"],
                "env": [
                    # The name of the database is also the name of its Service.
                    objects.secret_variable(
                        "POSTGRESQL_DATABASE", secret=secret, key="database-name"
                    ),
                    objects.secret_variable(
                        "PGPASSWORD", secret=secret, key="database-root-password"
                    ),
                ],
            }
        ],
    }
    return [
        objects.make(plan, "ServiceAccount", DATABASE, component="postgres"),
        credentials,
        *database_claims(plan, DATABASE, component="postgres", label="postgres"),
        objects.service(
            plan,
            DATABASE,
            component="postgres",
            label="postgres",
            ports=[("postgres", 5432, 5432)],
        ),
        objects.job(plan, INIT, component="postgres", label="postgres", pod=init_pod),
        objects.deployment(
            plan,
            DATABASE,
            component="postgres",
            label="postgres",
            strategy={"type": "Recreate"},
            pod=database_pod(
                image=plan.store(DATABASE).image,
                credentials=secret,
                claim=plan.prefix + plan.store(DATABASE).claim,
                account=name,
                connections=MOST_CONNECTIONS,
            ),
        ),
        *copy_jobs(plan, DATABASE, component="postgres", label="postgres", credentials=secret),
    ]


def _configuration(plan: RegistryPlan) -> JsonObject:
    return {
        "DB_URI": plan.keys.db_uri,
        "DB_CONNECTION_ARGS": {
            "autorollback": True,
            "threadlocals": True,
            "max_connections": connections_of_process(plan),
        },
    }


def connections_of_process(plan: RegistryPlan) -> int:
    """Return how many connections each process may open, so that all of them together fit.

    All: those of as many pods as there may be. A fifth is left for pods that a rollout adds,
    for the Jobs, and for people.
    """
    duties = 1
    processes = _most_pods(plan, "quay") * (workers_of_pod(plan) + duties)
    if plan.manages("mirror"):
        processes += _most_pods(plan, "mirror")
    fitting = MOST_CONNECTIONS * 4 // 5 // processes
    return max(LEAST_CONNECTIONS, min(DEFAULT_CONNECTIONS, fitting))


def _most_pods(plan: RegistryPlan, component: str) -> int:
    if plan.manages("horizontalpodautoscaler"):
        return MOST_PODS
    fixed = plan.overridden(component).replicas
    return max(_PODS if fixed is None else fixed, 1)


def _init_verdict(plan: RegistryPlan, owned: Owned) -> Verdict | None:
    """Say why the Job cannot prepare the database; None when it did, or may still."""
    job = owned.get("Job", plan.job_name(INIT))
    if not plan.migrating or job is None or job.get("status", {}).get("succeeded"):
        return None
    cause = of_workload(owned, job)
    if cause is None:
        return None
    name = job["metadata"]["name"]
    return Verdict.bad(f"Job {name} fails: {cause.fact}", step=cause.step, diagnosed=True)


def _health(plan: RegistryPlan, owned: Owned) -> Verdict:
    if not plan.manages("postgres"):
        return Verdict.unmanaged("Postgres not managed by the operator")
    verdict = deployments.judge_database(
        plan, owned, DATABASE, component="Postgres", shown="Postgres deployment"
    )
    if verdict.reason in (Reason.CLAIM_PENDING, Reason.CLAIM_FAILED, Reason.POSTGRES_UPGRADE):
        return verdict
    return _init_verdict(plan, owned) or verdict


POSTGRES: Final = ComponentType(
    kind="postgres",
    condition="ComponentPostgresReady",
    objects=_objects,
    configuration=_configuration,
    health=_health,
)
