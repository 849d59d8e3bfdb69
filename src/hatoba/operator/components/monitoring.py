"""`monitoring`: metrics, one alert and a dashboard for the cluster's Prometheus and console.

The dashboard lives in another namespace, where no owner reference reaches: the registry's
finalizer removes it.
"""

import json
from collections.abc import Sequence
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import names, objects
from hatoba.operator.components.contract import ComponentType, Mounts, no_configuration
from hatoba.operator.model import Owned, RegistryPlan, Verdict

METRICS: Final = "quay-metrics"
MONITOR: Final = "quay-metrics-monitor"
RULES: Final = "quay-prometheus-rules"
PLATFORM_NAMESPACE: Final = "openshift-monitoring"

_PANELS: Final = (
    ("Organizations", "sum(quay_org_rows)"),
    ("Repositories", "sum(quay_repository_rows)"),
    ("Users", "sum(quay_users_rows)"),
    ("Robot accounts", "sum(quay_robot_rows)"),
    ("CPU", 'sum(rate(process_cpu_seconds_total{service="$service"}[5m]))'),
    ("Memory", 'sum(process_resident_memory_bytes{service="$service"})'),
    ("Pulls", 'sum(rate(quay_registry_image_pulls_total{service="$service"}[5m]))'),
    ("Pushes", 'sum(rate(quay_registry_image_pushes_total{service="$service"}[5m]))'),
    ("Authentication", 'sum(rate(quay_authentication_attempts_total{service="$service"}[5m]))'),
    ("API requests", 'sum(rate(quay_request_duration_seconds_count{service="$service"}[5m]))'),
    (
        "API latency, 95th percentile",
        (
            "histogram_quantile(0.95, sum by (le) "
            '(rate(quay_request_duration_seconds_bucket{service="$service"}[5m])))'
        ),
    ),
)


def dashboard_name(registry: str) -> str:
    """Return the name of a registry's dashboard ConfigMap."""
    return f"{registry}-grafana-dashboard-quay"


def dashboard_names(registry: str, namespace: str) -> tuple[str, str]:
    """Return the name, and the one that is taken where a namesake elsewhere has the former."""
    name = dashboard_name(registry)
    return name, f"{name}-{namespace}"


def is_dashboard_of(live: JsonObject, namespace: str) -> bool:
    """Tell whether a dashboard shows the registry of a namespace; older ones do not say it."""
    place = (live["metadata"].get("annotations") or {}).get(names.PLACE_ANNOTATION)
    return place in (None, namespace)


def undisputed(obj: JsonObject, owned: Owned) -> JsonObject:
    """Give a dashboard another name where a registry of the same name has it already.

    All dashboards lie in one namespace: two registries would overwrite each other's for ever.
    """
    metadata = obj["metadata"]
    place = (metadata.get("annotations") or {}).get(names.PLACE_ANNOTATION)
    if place is None:
        return obj
    other = f"{metadata['name']}-{place}"
    live = owned.get("ConfigMap", metadata["name"])
    taken = live is not None and not is_dashboard_of(live, place)
    if not taken and owned.get("ConfigMap", other) is None:
        return obj
    return {**obj, "metadata": {**metadata, "name": other}}


def _variable(name: str, value: str) -> JsonObject:
    choice = {"text": value, "value": value, "selected": True}
    return {
        "name": name,
        "type": "custom" if name != "datasource" else "datasource",
        "query": value,
        "current": choice,
        "options": [choice],
    }


def _dashboard(plan: RegistryPlan) -> JsonObject:
    content = {
        "title": f"Quay - {plan.namespace} - {plan.name}",
        "templating": {
            "list": [
                _variable("datasource", "prometheus"),
                _variable("namespace", plan.namespace),
                _variable("service", plan.prefix + METRICS),
            ]
        },
        "panels": [
            {
                "id": index + 1,
                "title": title,
                "type": "graph",
                "datasource": "$datasource",
                "gridPos": {"h": 6, "w": 8, "x": index % 3 * 8, "y": index // 3 * 6},
                "targets": [{"expr": expression, "refId": "A"}],
            }
            for index, (title, expression) in enumerate(_PANELS)
        ],
        "schemaVersion": 16,
        "refresh": "30s",
    }
    obj = objects.make(
        plan,
        "ConfigMap",
        "grafana-dashboard-quay",
        component="monitoring",
        data={"quay.json": json.dumps(content, indent=2, sort_keys=True)},
    )
    obj["metadata"]["namespace"] = names.MONITORING_NAMESPACE
    obj["metadata"]["labels"]["console.openshift.io/dashboard"] = "true"
    obj["metadata"]["annotations"][names.PLACE_ANNOTATION] = plan.namespace
    # An owner in another namespace is no owner: the collector would delete the object at once.
    del obj["metadata"]["ownerReferences"]
    return obj


def _reader(plan: RegistryPlan, *, role: str, binding: str, account: str) -> list[JsonObject]:
    """Return a Role and a RoleBinding that let a Prometheus account discover what to scrape."""
    rule = {
        "apiGroups": [""],
        "resources": ["services", "endpoints", "pods"],
        "verbs": ["get", "list", "watch"],
    }
    return [
        objects.make(plan, "Role", role, component="monitoring", rules=[rule]),
        objects.make(
            plan,
            "RoleBinding",
            binding,
            component="monitoring",
            roleRef={
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": plan.prefix + role,
            },
            subjects=[{"kind": "ServiceAccount", "name": account, "namespace": PLATFORM_NAMESPACE}],
        ),
    ]


def _metrics_service(plan: RegistryPlan) -> JsonObject:
    obj = objects.service(
        plan,
        METRICS,
        component="monitoring",
        label="monitoring",
        ports=[("quay-metrics", 9091, 9091)],
        selects="quay-app",
    )
    obj["metadata"]["annotations"] |= {
        "prometheus.io/scrape": "true",
        "prometheus.io/scheme": "http",
        "prometheus.io/port": "9091",
    }
    return obj


def _rules(plan: RegistryPlan) -> JsonObject:
    alert = {
        "alert": "QuayPodFrequentlyRestarting",
        "expr": (
            "increase(kube_pod_container_status_restarts_total"
            f'{{namespace="{plan.namespace}",pod=~".*-quay-app-.*"}}[1h]) > 5'
        ),
        "for": "10m",
        "labels": {"severity": "warning"},
        "annotations": {"message": "Pod {{ $labels.pod }} restarted {{ $value }} times in an hour"},
    }
    obj = objects.make(
        plan,
        "PrometheusRule",
        RULES,
        component="monitoring",
        spec={"groups": [{"name": "quay-alerts.rules", "rules": [alert]}]},
    )
    obj["metadata"]["labels"] |= {"prometheus": "k8s", "role": "alert-rules"}
    return obj


def _objects(plan: RegistryPlan, _mounts: Mounts) -> Sequence[JsonObject]:
    return [
        _dashboard(plan),
        _metrics_service(plan),
        *_reader(plan, role=METRICS, binding=METRICS, account="prometheus-k8s"),
        *_reader(
            plan,
            role="quay-alerts-role",
            binding="quay-alerts-rolebinding",
            account="prometheus-operator",
        ),
        objects.make(
            plan,
            "ServiceMonitor",
            MONITOR,
            component="monitoring",
            spec={
                "endpoints": [{"port": "quay-metrics"}],
                "selector": {"matchLabels": {names.COMPONENT_KEY: "monitoring"}},
            },
        ),
        _rules(plan),
    ]


def _health(plan: RegistryPlan, owned: Owned) -> Verdict:
    if not plan.manages("monitoring"):
        return Verdict.unmanaged("Monitoring not managed by the operator")
    for kind, suffix in (("PrometheusRule", RULES), ("ServiceMonitor", MONITOR)):
        name = plan.prefix + suffix
        found = owned.get(kind, name)
        if found is None:
            return Verdict.bad(f"{kind} {name} not found", step="it is made with the next pass")
        if not owned.belongs(found):
            return Verdict.bad(
                f"{kind} {name} not owned by QuayRegistry",
                step="delete or rename it, somebody else made it",
                diagnosed=True,
            )
    return Verdict.good("ServiceMonitor and PrometheusRules created")


MONITORING: Final = ComponentType(
    kind="monitoring",
    condition="ComponentMonitoringReady",
    objects=_objects,
    configuration=no_configuration,
    health=_health,
)
