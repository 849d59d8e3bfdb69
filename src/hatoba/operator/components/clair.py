"""`clair`: the scanner and a PostgreSQL of its own.

The scanner reads Clair's configuration file, so that it can be exchanged for Clair itself.
"""

from collections.abc import Sequence
from typing import Final

import yaml

from hatoba.kernel.json import JsonObject
from hatoba.operator import objects
from hatoba.operator.components import deployments
from hatoba.operator.components.contract import ComponentType, Mounts
from hatoba.operator.components.postgres import database_pod
from hatoba.operator.model import Owned, RegistryPlan, Verdict

SCANNER: Final = "clair-app"
DATABASE: Final = "clair-postgres"
DATABASE_USER: Final = "clair"


def clair_configuration(plan: RegistryPlan) -> JsonObject:
    """Return the content of the scanner's config.yaml."""
    connection = (
        f"host={plan.prefix}{DATABASE} port=5432 dbname={DATABASE_USER} user={DATABASE_USER} "
        f"password={plan.keys.clair_db_password} sslmode=disable"
    )
    return {
        "http_listen_addr": ":8080",
        "introspection_addr": ":8089",
        "log_level": "info",
        "indexer": {
            "connstring": connection,
            "scanlock_retry": 10,
            "layer_scan_concurrency": 5,
            "migrations": True,
        },
        "matcher": {"connstring": connection, "max_conn_pool": 100, "migrations": True},
        "notifier": {
            "connstring": connection,
            "migrations": True,
            "delivery_interval": "1m",
            "poll_interval": "5m",
            "webhook": {
                "target": f"{plan.scheme}://{plan.hostname}/secscan/notification",
                "callback": f"http://{plan.prefix}{SCANNER}:8080/notifier/api/v1/notifications",
            },
        },
        "auth": {"psk": {"key": plan.keys.scanner_psk, "iss": ["quay", "clairctl"]}},
        "metrics": {"name": "prometheus"},
    }


def _scanner_pod(plan: RegistryPlan, *, secret: str, mounts: Mounts) -> JsonObject:
    return {
        "serviceAccountName": plan.prefix + SCANNER,
        "containers": [
            {
                "name": "clair-app",
                "image": plan.settings.images.clair,
                "imagePullPolicy": "IfNotPresent",
                "args": ["scanner", "serve"],
                "env": [
                    {"name": "CLAIR_CONF", "value": "/clair/config.yaml"},
                    {"name": "CLAIR_MODE", "value": "combo"},
                ],
                "ports": [
                    {"name": "clair-http", "containerPort": 8080, "protocol": "TCP"},
                    {"name": "clair-intro", "containerPort": 8089, "protocol": "TCP"},
                ],
                "startupProbe": {
                    "tcpSocket": {"port": "clair-intro"},
                    "periodSeconds": 2,
                    "failureThreshold": 300,
                },
                "readinessProbe": {
                    "httpGet": {"path": "/readyz", "port": "clair-intro"},
                    "periodSeconds": 5,
                    "timeoutSeconds": 10,
                },
                "livenessProbe": {
                    "httpGet": {"path": "/healthz", "port": "clair-intro"},
                    "periodSeconds": 15,
                    "timeoutSeconds": 10,
                    "failureThreshold": 10,
                },
                "resources": objects.resources(("2", "2Gi"), ("4", "16Gi")),
                "volumeMounts": [
                    {"name": "config", "mountPath": "/clair"},
                    {"name": "certs", "mountPath": "/var/run/certs"},
                ],
            }
        ],
        "volumes": [
            {"name": "config", "secret": {"secretName": secret}},
            {"name": "certs", "secret": {"secretName": mounts.certificates}},
        ],
    }


def _objects(plan: RegistryPlan, mounts: Mounts) -> Sequence[JsonObject]:
    settings = yaml.safe_dump(clair_configuration(plan), sort_keys=True)
    config = objects.generated_secret(
        plan, "clair-config-secret", {"config.yaml": settings.encode()}
    )
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
        objects.make(plan, "ServiceAccount", SCANNER, component="clair"),
        objects.make(plan, "ServiceAccount", DATABASE, component="clair"),
        config,
        credentials,
        objects.claim(plan, DATABASE, component="clair", label=DATABASE),
        objects.service(
            plan,
            SCANNER,
            component="clair",
            label=SCANNER,
            ports=[
                ("clair-http", 80, 8080),
                ("clair-direct", 8080, 8080),
                ("clair-introspection", 8089, 8089),
            ],
        ),
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
        objects.deployment(
            plan,
            SCANNER,
            component="clair",
            label=SCANNER,
            pod=_scanner_pod(plan, secret=config["metadata"]["name"], mounts=mounts),
        ),
    ]


def _configuration(plan: RegistryPlan) -> JsonObject:
    return {
        "FEATURE_SECURITY_SCANNER": True,
        "FEATURE_SECURITY_NOTIFICATIONS": True,
        "SECURITY_SCANNER_V4_ENDPOINT": f"http://{plan.prefix}{SCANNER}:8080",
        "SECURITY_SCANNER_V4_NAMESPACE_WHITELIST": ["admin"],
        "SECURITY_SCANNER_INDEXING_INTERVAL": 30,
        # Layers are fetched through the Service: the host of the Route may not resolve in here.
        "SECURITY_SCANNER_REGISTRY_URL": f"http://{plan.prefix}quay-app:8080",
        "SECURITY_SCANNER_V4_PSK": plan.keys.scanner_psk,
    }


def _health(plan: RegistryPlan, owned: Owned) -> Verdict:
    if not plan.manages("clair"):
        return Verdict.unmanaged("Clair not managed by the operator")
    names = [plan.prefix + suffix for suffix in (DATABASE, SCANNER)]
    pending = deployments.judge_claim(owned, names[0], component="ClairPostgres")
    return pending or deployments.judge_all(owned, names, good="Clair component healthy")


CLAIR: Final = ComponentType(
    kind="clair",
    condition="ComponentClairReady",
    objects=_objects,
    configuration=_configuration,
    health=_health,
)
