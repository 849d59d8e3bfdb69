"""`clair`: the scanner; its PostgreSQL is `clairpostgres`.

The scanner reads Clair's configuration file, so that it can be exchanged for Clair itself.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from hatoba.config.loader import parse_yaml
from hatoba.kernel.json import JsonObject
from hatoba.operator import objects
from hatoba.operator.components import deployments
from hatoba.operator.components.clairpostgres import DATABASE, DATABASE_USER
from hatoba.operator.components.contract import ComponentType, Mounts
from hatoba.operator.model import Owned, RegistryPlan, Verdict
from hatoba.operator.texts import dump_yaml
from hatoba.operator.volumes import SCRATCH_SIZE

SCANNER: Final = "clair-app"
SCANNER_FILE: Final = "clair-config.yaml"
"""Key of the bundle with what the user wants of the scanner; it wins over what is generated."""
_PARTS: Final = ("indexer", "matcher", "notifier")
LAYERS: Final = "indexer-layer-storage"
LAYERS_PATH: Final = "/var/tmp"  # noqa: S108 -- where the scanner unpacks layers, in its own pod


def scanner_settings(files: Mapping[str, bytes]) -> JsonObject:
    """Return what the bundle says about the scanner.

    Raises:
        ConfigurationInvalid: it is not YAML.
    """
    return parse_yaml(files.get(SCANNER_FILE, b""))


def scanner_database_given(settings: JsonObject) -> bool:
    """Tell whether the bundle names a database for the scanner."""
    parts = (settings.get(part) for part in _PARTS)
    return any(isinstance(part, dict) and part.get("connstring") for part in parts)


def clair_configuration(plan: RegistryPlan) -> JsonObject:
    """Return the content of the scanner's config.yaml."""
    return _merged(_generated(plan), scanner_settings(plan.files))


def _merged(below: JsonObject, above: JsonObject) -> JsonObject:
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            found[key] = _merged(old, value)
        else:
            found[key] = value
    return found


def _generated(plan: RegistryPlan) -> JsonObject:
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
    scratch = _scratch(plan)
    scratch_mounts = [{"name": LAYERS, "mountPath": LAYERS_PATH} for _ in scratch]
    scratch_variables = [{"name": "TMPDIR", "value": LAYERS_PATH} for _ in scratch]
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
                    *scratch_variables,
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
                    *scratch_mounts,
                ],
            }
        ],
        "volumes": [
            {"name": "config", "secret": {"secretName": secret}},
            {"name": "certs", "secret": {"secretName": mounts.certificates}},
            *scratch,
        ],
    }


def _scratch(plan: RegistryPlan) -> list[JsonObject]:
    """Return the volume in which layers are unpacked, if its size or class was asked for.

    Source: Quay operator 3.12 and later, volume `indexer-layer-storage`. Each pod gets its own,
    which ends with it.
    """
    wanted = plan.overridden("clair")
    if wanted.volume_size is None and wanted.storage_class is None:
        return []
    spec: JsonObject = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": wanted.volume_size or SCRATCH_SIZE}},
    }
    if wanted.storage_class is not None:
        spec["storageClassName"] = wanted.storage_class
    return [{"name": LAYERS, "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}]


def _objects(plan: RegistryPlan, mounts: Mounts) -> Sequence[JsonObject]:
    settings = dump_yaml(clair_configuration(plan))
    config = objects.generated_secret(plan, "clair-config-secret", {"config.yaml": settings})
    return [
        objects.make(plan, "ServiceAccount", SCANNER, component="clair"),
        config,
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
    name, database = plan.prefix + SCANNER, plan.prefix + DATABASE
    if plan.overridden("clair").replicas == 0:
        stopped = deployments.judge_stopped(
            owned,
            name,
            falling="Clair component is being scaled down",
            stopped="Clair manually scaled down",
        )
        if stopped is not None:
            return stopped
    if not plan.manages("clairpostgres"):
        return deployments.judge_all(owned, [name], good="Clair component healthy")
    found = deployments.judge_database(
        plan, owned, DATABASE, component="ClairPostgres", shown=f"Deployment {database}"
    )
    if not found.ready:
        return found
    remark = found.message if found.message != f"Deployment {database} healthy" else ""
    return deployments.judge_all(owned, [name], good=remark or "Clair component healthy")


CLAIR: Final = ComponentType(
    kind="clair",
    condition="ComponentClairReady",
    objects=_objects,
    configuration=_configuration,
    health=_health,
)
