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
from hatoba.operator.components.postgres import copy_jobs, database_claims, database_pod
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
        *database_claims(plan, DATABASE, component="clair", label=DATABASE),
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
                image=plan.store(DATABASE).image,
                credentials=credentials["metadata"]["name"],
                claim=plan.prefix + plan.store(DATABASE).claim,
                account=name,
                connections=1000,
            ),
        ),
        *copy_jobs(
            plan,
            DATABASE,
            component="clair",
            label=DATABASE,
            credentials=credentials["metadata"]["name"],
        ),
    ]


def _health(plan: RegistryPlan, owned: Owned) -> Verdict:
    if not plan.manages("clairpostgres"):
        return Verdict.unmanaged("ClairPostgres not managed by the operator")
    shown = f"ClairPostgres deployment {plan.prefix}{DATABASE}"
    return deployments.judge_database(plan, owned, DATABASE, component="ClairPostgres", shown=shown)


CLAIR_POSTGRES: Final = ComponentType(
    kind="clairpostgres",
    condition="ComponentClairPostgresReady",
    objects=_objects,
    configuration=no_configuration,
    health=_health,
)
