"""What a registry with an unmanaged `tls` speaks, where the cluster says it for everybody."""

import base64
from dataclasses import replace

import pytest
import yaml
from tests.operator.builders import EVERYTHING, NAMESPACE, SETTINGS, a_plan
from tests.operator.conftest import a_world
from tests.operator.test_certificates import a_pair
from tests.operator.test_reconcile import conditions, config_of
from tests.operator.test_reconfigure import a_body, credentials, post
from tests.operator.test_watching import mounted, until, working

from hatoba.cluster.objects import SECRETS, ResourceName
from hatoba.config.validation import validate_mapping
from hatoba.kernel.clock import SystemClock
from hatoba.operator.configuration import merged_configuration
from hatoba.operator.endpoints import reconfigure_application
from hatoba.operator.model import InputRefused
from hatoba.operator.names import COMPONENT_ORDER
from hatoba.operator.plan import check_plan
from hatoba.operator.process import Operator
from hatoba.operator.reconfigure import Reconfigurer
from hatoba.operator.tlsprofiles import INTERMEDIATE, MODERN, OLD, PROFILE_KEYS, TlsProfile
from hatoba.serving.listeners import listening

pytestmark = [pytest.mark.alone, pytest.mark.anyio]
APISERVERS = ResourceName("apiservers", "config.openshift.io")
ROLES = ResourceName("clusterroles", "rbac.authorization.k8s.io")
MERGE = "application/merge-patch+json"
SUITE, GCM = "TLS_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "apiservers.config.openshift.io",
        "annotations": {"api-approved.kubernetes.io": "https://github.com/openshift/api"},
    },
    "spec": {
        "group": "config.openshift.io",
        "scope": "Cluster",
        "names": {
            "plural": "apiservers",
            "singular": "apiserver",
            "kind": "APIServer",
            "listKind": "APIServerList",
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


def an_apiserver(profile=None):
    spec = {} if profile is None else {"tlsSecurityProfile": profile}
    return {
        "apiVersion": "config.openshift.io/v1",
        "kind": "APIServer",
        "metadata": {"name": "cluster"},
        "spec": spec,
    }


def custom(**spec):
    return {"type": "Custom", "custom": spec}


def following(profile, *unmanaged, **config):
    capabilities = replace(EVERYTHING, tls_profile=profile)
    return a_plan(*unmanaged, capabilities=capabilities, config=config)


@pytest.mark.parametrize(
    ("given", "profile"),
    [
        (None, INTERMEDIATE),
        ({"type": ""}, INTERMEDIATE),
        ({"type": "Intermediate", "intermediate": {}}, INTERMEDIATE),
        ({"type": "Modern", "modern": None}, MODERN),
        ({"type": "Old", "old": {}}, OLD),
        ({"type": "OfTomorrow"}, INTERMEDIATE),
        ({"type": "Custom"}, INTERMEDIATE),
        ({"type": "Custom", "custom": None}, INTERMEDIATE),
        (
            custom(minTLSVersion="VersionTLS11", ciphers=[GCM]),
            TlsProfile(protocols=("TLSv1.1", "TLSv1.2", "TLSv1.3"), ciphers=(GCM,)),
        ),
        (
            custom(minTLSVersion="VersionTLS13", ciphers=[SUITE, GCM]),
            TlsProfile(protocols=("TLSv1.3",), ciphers=(SUITE, GCM)),
        ),
        (
            custom(minTLSVersion="VersionTLS12", ciphers=[SUITE]),
            TlsProfile(protocols=("TLSv1.3",), ciphers=(SUITE,)),
        ),
        (custom(minTLSVersion="VersionTLS12", ciphers=[]), INTERMEDIATE),
    ],
)
def test_a_profile_is_read_as_openshift_means_it(given, profile):
    assert TlsProfile.read(an_apiserver(given)) == profile


@pytest.mark.parametrize("profile", [OLD, INTERMEDIATE, MODERN])
def test_every_named_profile_can_be_served(profile):
    assert validate_mapping(profile.configuration) == []


def test_both_lists_are_given_to_a_registry_with_its_own_certificate():
    config = merged_configuration(following(MODERN, "tls"))
    assert config["SSL_PROTOCOLS"] == ["TLSv1.3"]
    assert config["SSL_CIPHERS"] == list(MODERN.ciphers)


@pytest.mark.parametrize(
    "own", [{"SSL_PROTOCOLS": ["TLSv1.2"]}, {"SSL_CIPHERS": [GCM]}, {"SSL_CIPHERS": None}]
)
def test_whoever_says_either_says_it_all(own):
    config = merged_configuration(following(MODERN, "tls", **own))
    assert {key: config[key] for key in PROFILE_KEYS & config.keys()} == own


@pytest.mark.parametrize("unmanaged", [(), ("tls",)])
def test_without_a_profile_or_with_managed_tls_nothing_is_added(unmanaged):
    profile = None if unmanaged else MODERN
    assert merged_configuration(following(profile, *unmanaged)) == merged_configuration(
        a_plan(*unmanaged)
    )


def test_a_profile_that_nobody_could_connect_with_is_told_as_the_clusters():
    profile = TlsProfile.read(an_apiserver(custom(minTLSVersion="VersionTLS12", ciphers=["RC4"])))
    with pytest.raises(InputRefused) as refused:
        check_plan(following(profile, "tls"))
    assert refused.value.fact.startswith(
        "the TLS profile of APIServer cluster cannot be followed: SSL_CIPHERS names no cipher"
    )
    with pytest.raises(InputRefused) as refused:
        check_plan(following(profile, "tls", SUPER_USERS=5))
    assert refused.value.fact.startswith("`configBundleSecret` is not valid: SUPER_USERS")


@pytest.fixture
async def world():
    async with a_world(definitions=[DEFINITION]) as found:
        yield found


async def a_registry(world, **config):
    """Make a registry that holds its certificate itself."""
    certificate, key = a_pair("registry.example")
    text = yaml.safe_dump({"SERVER_HOSTNAME": "registry.example", **config}).encode()
    files = {"config.yaml": text, "ssl.cert": certificate, "ssl.key": key}
    bundle = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "bundle", "namespace": NAMESPACE},
        "data": {name: base64.b64encode(content).decode() for name, content in files.items()},
    }
    await world.objects.create(SECRETS, bundle, manager="kubectl-create")
    listed = [{"kind": kind, "managed": kind != "tls"} for kind in COMPONENT_ORDER]
    await world.create_registry({"configBundleSecret": "bundle", "components": listed})


async def set_profile(world, profile):
    patch = {"spec": {"tlsSecurityProfile": profile}}
    await world.objects.patch(APISERVERS, "cluster", None, patch, type=MERGE, manager="kubectl")


def profile_in(config):
    return {key: value for key, value in config.items() if key in PROFILE_KEYS}


async def seen(operator):
    """Wait until an operator knows the APIServer, or why it may not."""
    informer = next(one for one in operator.informers if one.kind == "APIServer")

    async def is_known():
        return bool(informer.objects()) or bool(informer.fault)

    await until(is_known)
    return informer


async def bundled(world):
    """Return the configuration that the user's bundle holds."""
    name = (await world.registry())["spec"]["configBundleSecret"]
    data = (await world.objects.get(SECRETS, name, NAMESPACE))["data"]
    return yaml.safe_load(base64.b64decode(data["config.yaml"])), {
        key: value for key, value in data.items() if key != "config.yaml"
    }


@pytest.mark.api
async def test_a_changed_profile_is_rolled_out_and_the_same_again_writes_nothing(world):
    await world.objects.create(APISERVERS, an_apiserver(), manager="test")
    await seen(world.operator)
    await a_registry(world)
    await world.converge()
    assert profile_in(await config_of(world)) == INTERMEDIATE.configuration
    before = await mounted(world)
    async with working(world):
        await set_profile(world, {"type": "Modern", "modern": {}})

        async def rolled():
            return await mounted(world) != before

        await until(rolled)
    assert profile_in(await config_of(world)) == MODERN.configuration
    await world.converge()
    writes = world.cluster.writes
    await world.once()
    assert world.cluster.writes == writes
    assert conditions(await world.registry(), 1) == [("Available", "True", "HealthChecksPassing")]


@pytest.mark.api
async def test_an_operator_that_may_not_see_the_profile_goes_on_without(world):
    await world.objects.create(APISERVERS, an_apiserver({"type": "Modern"}), manager="test")
    role = await world.objects.get(ROLES, "quay-operator-landscape", None)
    rules = [rule for rule in role["rules"] if "apiservers" not in rule["resources"]]
    await world.objects.patch(
        ROLES, "quay-operator-landscape", None, {"rules": rules}, type=MERGE, manager="test"
    )
    world.operator = Operator(world.cluster, settings=SETTINGS, clock=SystemClock())
    async with world.operator.watching():
        informer = await seen(world.operator)
        assert "apiservers.config.openshift.io" in informer.fault
        await a_registry(world)
        await world.converge()
    assert profile_in(await config_of(world)) == {}
    assert conditions(await world.registry(), 1) == [("Available", "True", "HealthChecksPassing")]


@pytest.mark.api
async def test_what_the_config_editor_sends_back_is_not_taken_for_the_users(world):
    await world.objects.create(APISERVERS, an_apiserver({"type": "Modern"}), manager="test")
    await seen(world.operator)
    await a_registry(world)
    await world.converge()
    config, (_, certs) = await config_of(world), await bundled(world)
    async with listening(reconfigure_application(Reconfigurer(world.cluster))) as server:

        async def edited(**changes):
            body = a_body(config | changes, certs=certs)
            url = f"{server.url}/reconfigure"
            assert (await post(url, body, await credentials(world)))[0] == 200
            return (await bundled(world))[0]

        stored = await edited(REGISTRY_TITLE="Other")
        assert (stored["REGISTRY_TITLE"], profile_in(stored)) == ("Other", {})
        own = {"SSL_PROTOCOLS": ["TLSv1.3"], "SSL_CIPHERS": ["TLS_AES_256_GCM_SHA384"]}
        assert profile_in(await edited(SSL_CIPHERS=own["SSL_CIPHERS"])) == own
        # Now they are the user's, and stay so with the next edit of something else.
        assert profile_in(await edited(**own)) == own
