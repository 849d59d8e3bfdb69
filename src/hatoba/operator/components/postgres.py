"""`postgres`: the registry's database, and the Job that gives it the trigram extension."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from hatoba.kernel.json import JsonObject
from hatoba.operator import objects
from hatoba.operator.components import deployments
from hatoba.operator.components.contract import ComponentType, Mounts
from hatoba.operator.diagnosis import of_workload
from hatoba.operator.model import Owned, RegistryPlan, Verdict

DATABASE: Final = "quay-database"
INIT: Final = "quay-postgres-init"
GRACE_SECONDS: Final = 180
ADDRESS_VARIABLE: Final = "HATOBA_POD_ADDRESS"
ACCEPTS_CONNECTIONS: Final = (
    f'exec pg_isready --quiet --host="${ADDRESS_VARIABLE}" --port=5432'
    ' --username="$POSTGRESQL_USER" --dbname="$POSTGRESQL_DATABASE"'
)
"""Asks whether PostgreSQL lets somebody in, not just whether its port is open: that it is while a
crash is being recovered from, or a database shuts down. Asked by the pod's address, since the image
makes its databases with a server that only listens on a socket. There is no liveness or startup
probe on purpose: either would kill a recovery that takes long, and begin it anew."""


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
                    {"name": "POSTGRESQL_SHARED_BUFFERS", "value": "256MB"},
                    {"name": "POSTGRESQL_MAX_CONNECTIONS", "value": str(connections)},
                    {
                        "name": ADDRESS_VARIABLE,
                        "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}},
                    },
                ],
                "readinessProbe": {
                    "exec": {"command": ["sh", "-c", ACCEPTS_CONNECTIONS]},
                    "periodSeconds": 2,
                    "timeoutSeconds": 5,
                },
                "resources": objects.resources(("500m", "2Gi")),
                "volumeMounts": [{"name": "postgres-data", "mountPath": "/var/lib/pgsql/data"}],
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
        objects.claim(plan, DATABASE, component="postgres", label="postgres"),
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
                image=plan.settings.images.postgres,
                credentials=secret,
                claim=name,
                account=name,
                connections=2000,
            ),
        ),
    ]


def _configuration(plan: RegistryPlan) -> JsonObject:
    return {
        "DB_URI": plan.keys.db_uri,
        "DB_CONNECTION_ARGS": {"autorollback": True, "threadlocals": True},
    }


def _init_verdict(plan: RegistryPlan, owned: Owned) -> Verdict | None:
    """Say why the Job cannot prepare the database; None when it did, or may still."""
    job = owned.get("Job", plan.prefix + INIT)
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
    name = plan.prefix + DATABASE
    pending = deployments.judge_claim(owned, name, component="Postgres")
    return (
        pending
        or _init_verdict(plan, owned)
        or deployments.with_growth(
            owned,
            name,
            deployments.judge(
                owned,
                name,
                absent="Postgres deployment not found",
                foreign="Postgres deployment not owned by QuayRegistry",
            ),
        )
    )


POSTGRES: Final = ComponentType(
    kind="postgres",
    condition="ComponentPostgresReady",
    objects=_objects,
    configuration=_configuration,
    health=_health,
)
