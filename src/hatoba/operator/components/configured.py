"""What every pod that runs the registry's code gets: its configuration, and where that lies."""

from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import objects
from hatoba.operator.components.contract import Mounts
from hatoba.operator.model import RegistryPlan

SERVICE_CA: Final = "cluster-service-ca"
CONFIG_PATH: Final = "/conf/stack"
CA_PATH: Final = "/conf/stack/extra_ca_certs"
MOUNT_PATH: Final = "/datastorage"
"""Where blobs are that lie in a volume."""


def configuration_volumes(plan: RegistryPlan, mounts: Mounts) -> list[JsonObject]:
    """Return the volumes with config.yaml, certificates and the cluster's own authority."""
    return [
        {
            "name": "config",
            "projected": {
                "sources": [
                    {"secret": {"name": mounts.config}},
                    {"secret": {"name": mounts.certificates}},
                ]
            },
        },
        {"name": "extra-ca-certs", "configMap": {"name": plan.prefix + SERVICE_CA}},
    ]


def configuration_mounts() -> list[JsonObject]:
    """Return where these volumes appear."""
    return [
        {"name": "config", "mountPath": CONFIG_PATH},
        {"name": "extra-ca-certs", "mountPath": CA_PATH, "readOnly": True},
    ]


def registry_variables(mounts: Mounts) -> list[JsonObject]:
    """Return the environment of every pod that runs the registry's code."""
    return [
        {"name": "QE_K8S_CONFIG_SECRET", "value": mounts.config},
        objects.field_variable("QE_K8S_NAMESPACE", "metadata.namespace"),
        {"name": "QUAYCONF", "value": CONFIG_PATH},
        {"name": "HATOBA_DATA", "value": MOUNT_PATH},
        {"name": "DEBUGLOG", "value": "false"},
    ]
