"""The Job that asks somebody else's database, Redis, storage or scanner, before any rollout.

It runs the registry's own drivers where the registry's pods will run, and is named by what it
asks: an unchanged question is asked once.
"""

from collections.abc import Iterable
from typing import Final

from hatoba.config.components import COMPONENT_KEYS
from hatoba.kernel.json import JsonObject
from hatoba.operator import objects
from hatoba.operator.components.configured import (
    configuration_mounts,
    configuration_volumes,
    registry_variables,
)
from hatoba.operator.components.contract import Mounts
from hatoba.operator.components.quay import APP
from hatoba.operator.model import RegistryPlan
from hatoba.operator.tailoring import with_variables

PROBED: Final = ("postgres", "redis", "objectstorage")
PROBE: Final = "probe"
SCANNER_ENDPOINT: Final = "SECURITY_SCANNER_V4_ENDPOINT"
_SCANNER_KEYS: Final = ("FEATURE_SECURITY_SCANNER", SCANNER_ENDPOINT, "SECURITY_SCANNER_V4_PSK")
"""What makes another question to it; the rest says how it is used."""


def probed_kinds(plan: RegistryPlan) -> list[str]:
    """Return the components whose servers are not the operator's."""
    found = [kind for kind in PROBED if not plan.manages(kind)]
    return [*found, "clair"] if _has_scanner_of_others(plan) else found


def _has_scanner_of_others(plan: RegistryPlan) -> bool:
    """Tell whether the bundle names a scanner: unlike the others, a registry needs none."""
    is_wanted = plan.config.get("FEATURE_SECURITY_SCANNER") is True
    return is_wanted and not plan.manages("clair") and bool(plan.config.get(SCANNER_ENDPOINT))


def _keys_of(kind: str) -> Iterable[str]:
    return _SCANNER_KEYS if kind == "clair" else COMPONENT_KEYS[kind]


def probe_job(plan: RegistryPlan, mounts: Mounts) -> JsonObject | None:
    """Return the Job, None when everything is the operator's own."""
    kinds = probed_kinds(plan)
    if not kinds:
        return None
    keys = sorted(key for kind in kinds for key in _keys_of(kind))
    question: JsonObject = {
        "kinds": kinds,
        "image": plan.settings.images.quay,
        "config": {key: plan.config[key] for key in keys if key in plan.config},
        "files": sorted(plan.files),
    }
    if variables := plan.overridden("quay").env:
        question["env"] = list(variables)
    pod = {
        "serviceAccountName": plan.prefix + APP,
        "restartPolicy": "Never",
        "containers": [
            {
                "name": PROBE,
                "image": plan.settings.images.quay,
                "args": ["registry", "probe", *kinds],
                "env": registry_variables(mounts),
                "volumeMounts": configuration_mounts(),
            }
        ],
        "volumes": configuration_volumes(plan, mounts),
    }
    obj = objects.job(
        plan, PROBE, component="base", label=PROBE, pod_label=PROBE, pod=pod, backoff_limit=0
    )
    obj = with_variables(obj, plan.overridden("quay").env)
    obj["metadata"]["name"] = plan.job_name(f"{PROBE}-{objects.content_suffix(question)}")
    return obj
