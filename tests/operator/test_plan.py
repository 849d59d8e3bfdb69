import pytest
from tests.operator.builders import (
    EVERYTHING,
    NAMESPACE,
    a_plan,
    a_route,
    an_observation,
    components,
)

from hatoba.operator.bundle import read_bundle
from hatoba.operator.entries import check_components, filled_components, same_components
from hatoba.operator.exposure import choose
from hatoba.operator.landscape import Capabilities
from hatoba.operator.model import Component, Reason, RolloutBlocked
from hatoba.operator.names import COMPONENT_ORDER
from hatoba.operator.plan import check_plan, chosen_exposure, known_hostname

pytestmark = pytest.mark.alone

NOTHING = Capabilities()


def hostname(observation):
    bundle = read_bundle(observation)
    return known_hostname(observation, bundle, chosen_exposure(observation, bundle))


def fill(listed=(), *, capabilities=EVERYTHING, config=None, **files):
    bundle = read_bundle(an_observation(config, **files))
    exposure = choose({}, capabilities, namespace=NAMESPACE, own_certificate=False)
    return filled_components(
        tuple(listed), capabilities=capabilities, exposure=exposure, bundle=bundle
    )


def check(listed, config=None, *, capabilities=EVERYTHING, **files):
    bundle = read_bundle(an_observation(config, **files))
    exposure = choose({}, capabilities, namespace=NAMESPACE, own_certificate=False)
    check_components(listed, exposure=exposure, bundle=bundle)


def blocked(call, *arguments, **named):
    with pytest.raises(RolloutBlocked) as caught:
        call(*arguments, **named)
    return caught.value.reason, caught.value.fact


def test_an_empty_spec_gets_every_component_in_the_documented_order():
    assert fill() == tuple(Component(kind=kind, managed=True) for kind in COMPONENT_ORDER)


def test_listed_components_keep_their_place():
    listed = [Component(kind="tls", managed=False), Component(kind="clair", managed=True)]
    assert [entry.kind for entry in fill(listed)][:3] == ["tls", "clair", "postgres"]


def test_components_without_api_default_to_unmanaged():
    managed = {entry.kind: entry.managed for entry in fill(capabilities=NOTHING)}
    assert [kind for kind, value in managed.items() if not value] == ["route", "monitoring", "tls"]


def test_a_certificate_pair_makes_tls_unmanaged():
    managed = {entry.kind: entry.managed for entry in fill(ssl_cert=b"x", ssl_key=b"y")}
    assert managed["tls"] is False


@pytest.mark.parametrize(
    ("kind", "reason", "message"),
    [
        (
            "route",
            Reason.ROUTE_DEPENDENCY,
            "cannot use `route` component when `Route` API not available",
        ),
        (
            "tls",
            Reason.ROUTE_DEPENDENCY,
            "cannot use `tls` component when `Route` API not available",
        ),
        (
            "monitoring",
            Reason.MONITORING_DEPENDENCY,
            "cannot use `monitoring` component when `Prometheus` API not available",
        ),
    ],
)
def test_asking_for_a_component_without_its_api_blocks(kind, reason, message):
    listed = [Component(kind=kind, managed=True)]
    assert blocked(fill, listed, capabilities=NOTHING) == (reason, message)


def test_an_unknown_kind_blocks():
    listed = [Component(kind="carrier-pigeon", managed=True)]
    assert blocked(fill, listed) == (
        Reason.CONFIG_INVALID,
        "unknown component kind `carrier-pigeon` in spec.components",
    )


def test_comparison_ignores_the_order():
    assert same_components(components(), tuple(reversed(components())))
    assert not same_components(components(), components("clair"))
    assert not same_components(components(), components()[1:])


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("postgres", {"DB_URI": "postgresql://elsewhere/db"}),
        ("clair", {"FEATURE_SECURITY_SCANNER": True}),
        ("redis", {"USER_EVENTS_REDIS": {"host": "elsewhere"}}),
        ("objectstorage", {"DISTRIBUTED_STORAGE_PREFERENCE": ["x"]}),
    ],
)
def test_a_managed_component_with_own_configuration_blocks(kind, config):
    assert blocked(check, components(), config) == (
        Reason.CONFIG_INVALID,
        f"{kind} component marked as managed, but `configBundleSecret` contains required fields",
    )


def test_managed_tls_with_own_certificates_blocks():
    assert blocked(check, components(), ssl_cert=b"x", ssl_key=b"y") == (
        Reason.CONFIG_INVALID,
        "tls component marked as managed, but `configBundleSecret` contains required fields",
    )


def test_keys_of_route_and_mirror_may_stand_in_the_bundle():
    check(components(), {"SERVER_HOSTNAME": "quay.example", "FEATURE_REPO_MIRROR": True})


@pytest.mark.parametrize("kind", ["postgres", "redis", "objectstorage", "route", "tls"])
def test_a_required_component_that_nobody_configures_blocks(kind):
    assert blocked(check, components(kind)) == (
        Reason.CONFIG_INVALID,
        (
            f"required component `{kind}` marked as unmanaged, but `configBundleSecret` is "
            "missing necessary fields"
        ),
    )


@pytest.mark.parametrize("kind", ["clair", "horizontalpodautoscaler", "mirror", "monitoring"])
def test_a_registry_can_do_without_optional_components(kind):
    check(components(kind))


def test_without_routes_the_smallest_registry_still_comes_up():
    check(components("route", "tls", "monitoring"), capabilities=NOTHING)
    observation = an_observation(listed=components("route", "tls"), capabilities=NOTHING)
    assert hostname(observation) == "example-registry-quay-app.quay-enterprise.svc:8080"


def test_a_missing_bundle_is_named_with_the_error_of_the_cluster():
    observation = an_observation()
    missing = type(observation)(
        registry=observation.registry,
        bundle_error='secrets "bundle" not found',
        owned=observation.owned,
    )
    assert blocked(read_bundle, missing) == (
        Reason.CONFIG_INVALID,
        (
            "unable to retrieve referenced `configBundleSecret`: bundle, "
            'error: secrets "bundle" not found'
        ),
    )


@pytest.mark.parametrize("text", ["a: [", "- just\n- a list", "\t{"])
def test_a_config_that_is_not_a_yaml_mapping_blocks(text):
    reason, message = blocked(read_bundle, an_observation(text))
    assert reason is Reason.CONFIG_INVALID
    assert message.startswith("could not check for build manager support: ")


def test_a_bundle_without_config_is_an_empty_configuration():
    observation = an_observation()
    observation.bundle["data"].clear()
    assert read_bundle(observation).config == {}


def test_a_host_name_that_is_no_string_blocks():
    assert blocked(read_bundle, an_observation({"SERVER_HOSTNAME": 5})) == (
        Reason.CONFIG_INVALID,
        "SERVER_HOSTNAME must be of type string",
    )


def test_the_host_name_is_what_the_cluster_admitted_with_its_port():
    observation = an_observation(listed=components(), objects=[a_route(port="8443")])
    assert hostname(observation) == "localhost:8443"
    standard = an_observation(listed=components(), objects=[a_route(host="a.example", port="443")])
    assert hostname(standard) == "a.example"


def test_the_host_name_is_unknown_before_a_router_admitted_the_route():
    observation = an_observation(listed=components())
    assert hostname(observation) is None


def test_a_given_host_name_wins():
    observation = an_observation(
        {"SERVER_HOSTNAME": "quay.example"}, listed=components(), objects=[a_route()]
    )
    assert hostname(observation) == "quay.example"


def test_a_configuration_that_the_registry_would_refuse_blocks():
    reason, message = blocked(check_plan, a_plan(config={"SUPER_USERS": {"not": "a list"}}))
    assert reason is Reason.CONFIG_INVALID
    assert "SUPER_USERS" in message
