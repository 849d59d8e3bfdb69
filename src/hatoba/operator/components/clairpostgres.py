"""`clairpostgres`: the PostgreSQL in which the scanner keeps what it knows.

Part of `clair` in Quay 3.6, a component of its own later: without an entry in the spec it is
managed whenever the scanner is.
"""

from collections.abc import Sequence
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import objects
from hatoba.operator.components import deployments
from hatoba.operator.components.contract import ComponentType, Mounts, no_configuration
from hatoba.operator.components.postgres import database_pod
from hatoba.operator.model import Owned, RegistryPlan, Verdict

DATABASE: Final = "clair-postgres"
DATABASE_USER: Final = "clair"


def _objects(plan: RegistryPlan, _mounts: Mounts) -> Sequence[JsonObject]:
    credentials = objects.generated_secret(
        plan,
        "clairpostgres-config-secret",
        {
            "database-username": DATABASE_USER.encode(),
            "database-password": plan.keys.clair_db_password.encode(),
            "database-name": DATABASE_USER.encode(),
            "database-root-password": plan.keys.clair_db_root_password.encode(),
        },
    )
    name = plan.prefix + DATABASE
    return [
        objects.make(plan, "ServiceAccount", DATABASE, component="clair"),
        credentials,
        objects.claim(plan, DATABASE, component="clair", label=DATABASE),
        objects.service(
            plan, DATABASE, component="clair", label=DATABASE, ports=[("postgres", 5432, 5432)]
        ),
        objects.deployment(
            plan,
            DATABASE,
            component="clair",
            label=DATABASE,
            strategy={"type": "Recreate"},
            pod=database_pod(
                image=plan.settings.images.clair_postgres,
                credentials=credentials["metadata"]["name"],
                claim=name,
                account=name,
                connections=1000,
            ),
        ),
    ]


def _health(plan: RegistryPlan, owned: Owned) -> Verdict:
    if not plan.manages("clairpostgres"):
        return Verdict.unmanaged("ClairPostgres not managed by the operator")
    name = plan.prefix + DATABASE
    pending = deployments.judge_claim(owned, name, component="ClairPostgres")
    verdict = deployments.judge(
        owned,
        name,
        absent=f"ClairPostgres deployment {name} not found",
        foreign=f"ClairPostgres deployment {name} not owned by QuayRegistry",
    )
    return pending or deployments.with_growth(owned, name, verdict)


CLAIR_POSTGRES: Final = ComponentType(
    kind="clairpostgres",
    condition="ComponentClairPostgresReady",
    objects=_objects,
    configuration=no_configuration,
    health=_health,
)
