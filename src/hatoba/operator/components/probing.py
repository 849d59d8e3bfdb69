"""The Job that asks somebody else's database, Redis or storage, before anything is rolled out.

It runs the registry's own drivers where the registry's pods will run, and is named by what it
asks: an unchanged question is asked once.
"""

from typing import Final

from hatoba.config.components import COMPONENT_KEYS
from hatoba.kernel.json import JsonObject
from hatoba.operator import objects
from hatoba.operator.components.contract import Mounts
from hatoba.operator.components.quay import (
    APP,
    configuration_mounts,
    configuration_volumes,
    registry_variables,
)
from hatoba.operator.model import RegistryPlan
from hatoba.operator.tailoring import with_variables

PROBED: Final = ("postgres", "redis", "objectstorage")
PROBE: Final = "probe"


def probed_kinds(plan: RegistryPlan) -> list[str]:
    """Return the components whose servers are not the operator's."""
    return [kind for kind in PROBED if not plan.manages(kind)]


def probe_job(plan: RegistryPlan, mounts: Mounts) -> JsonObject | None:
    """Return the Job, None when everything is the operator's own."""
    kinds = probed_kinds(plan)
    if not kinds:
        return None
    keys = sorted(key for kind in kinds for key in COMPONENT_KEYS[kind])
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
    obj["metadata"]["name"] = f"{plan.prefix}{PROBE}-{objects.content_suffix(question)}"
    return obj
