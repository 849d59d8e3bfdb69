"""A certificate that somebody else keeps in a Secret of its own: `secretRef` of `tls`."""

import base64

import pytest
from tests.operator.builders import NAME, NAMESPACE, a_bundle, a_registry, owned
from tests.operator.conftest import REGISTRIES
from tests.operator.test_certificates import a_pair
from tests.operator.test_watching import conditions, until, working

from hatoba.cluster.objects import DEPLOYMENTS, ROUTES, SECRETS
from hatoba.kernel.errors import InvalidInput
from hatoba.operator.bundle import TlsSecretUnusable, read_bundle
from hatoba.operator.entries import check_components
from hatoba.operator.landscape import Exposure, Way
from hatoba.operator.model import Component, RolloutBlocked
from hatoba.operator.names import COMPONENT_ORDER
from hatoba.operator.observation import Observation
from hatoba.operator.reconfigure import inferred_components

pytestmark = [pytest.mark.alone, pytest.mark.anyio]
BY_SECRET = Component(kind="tls", managed=False, secret="given")
FAULT = "external TLS secret error: "


def encoded(**data):
    return {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}


def a_secret(pair, *, kind="kubernetes.io/tls"):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": kind,
        "metadata": {"name": "given", "namespace": NAMESPACE},
        "data": encoded(tls_crt=pair[0], tls_key=pair[1]),
    }


def read(secret, **files):
    return read_bundle(
        Observation(
            registry=a_registry(listed=[BY_SECRET]),
            bundle=a_bundle({}, **files),
            tls_secret=secret,
            tls_error='secrets "given" not found',
            owned=owned(),
        )
    )


def test_the_pair_takes_the_place_of_one_in_the_bundle():
    bundle = read(a_secret((b"certificate", b"key")))
    assert bundle.files == {"ssl.cert": b"certificate", "ssl.key": b"key"}


@pytest.mark.parametrize(
    ("secret", "files", "fact"),
    [
        (None, {}, 'unable to get TLS secret "given": secrets "given" not found'),
        (
            a_secret((b"c", b"k"), kind="Opaque"),
            {},
            'TLS secret "given" must be type "kubernetes.io/tls", got "Opaque"',
        ),
        (a_secret((b"", b"k")), {}, 'TLS secret "given" missing or empty tls.crt'),
        (a_secret((b"c", b" \n")), {}, 'TLS secret "given" missing or empty tls.key'),
        (
            a_secret((b"c", b"k")),
            {"ssl_key": b"k"},
            "tls component secretRef and ssl.key in configBundleSecret are mutually exclusive",
        ),
    ],
)
def test_what_cannot_be_used_is_told_in_quays_words(secret, files, fact):
    with pytest.raises(TlsSecretUnusable) as refused:
        read(secret, **files)
    assert refused.value.fact == FAULT + fact


@pytest.mark.parametrize(
    ("entry", "fact"),
    [
        (
            Component(kind="tls", managed=True, secret="given"),
            "secretRef cannot be set on a managed component",
        ),
        (Component(kind="tls", managed=False, secret=""), "secretRef.name must not be empty"),
        (
            Component(kind="redis", managed=False, secret="given"),
            "component redis does not support secretRef",
        ),
    ],
)
def test_a_reference_that_nothing_would_read_blocks(entry, fact):
    bundle = read(a_secret((b"c", b"k")))
    with pytest.raises(RolloutBlocked) as refused:
        check_components((entry,), exposure=Exposure(way=Way.ROUTE), bundle=bundle)
    assert refused.value.fact == fact


def test_the_config_editor_leaves_the_reference_where_it_is():
    kept = inferred_components((BY_SECRET,), config={}, files=frozenset())
    assert [entry.wire for entry in kept] == [
        {"kind": "tls", "managed": False, "secretRef": {"name": "given"}}
    ]


async def write_components(world, **tls):
    listed = [{"kind": kind, "managed": True} for kind in COMPONENT_ORDER if kind != "tls"]
    return await world.update_spec({"components": [*listed, {"kind": "tls", **tls}]})


async def write_pair(world, pair):
    patch = {"data": encoded(tls_crt=pair[0], tls_key=pair[1])}
    merge = "application/merge-patch+json"
    await world.objects.patch(SECRETS, "given", NAMESPACE, patch, type=merge, manager="kubectl")


async def mounted_pair(world):
    """Return the Secret of the certificate that the registry's pods mount, and what is in it."""
    pod = (await world.get(DEPLOYMENTS, "quay-app"))["spec"]["template"]["spec"]
    sources = pod["volumes"][0]["projected"]["sources"]
    (name,) = [
        one["secret"]["name"] for one in sources if "config-tls" in one["secret"].get("name", "")
    ]
    data = (await world.objects.get(SECRETS, name, NAMESPACE))["data"]
    return name, (base64.b64decode(data["ssl.cert"]), base64.b64decode(data["ssl.key"]))


@pytest.mark.api
@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ({"managed": True, "secretRef": {"name": "given"}}, "cannot be set on a managed component"),
        ({"managed": False, "secretRef": {"name": ""}}, "secretRef.name must not be empty"),
    ],
)
async def test_the_cluster_refuses_what_could_never_be_followed(world, tls, words):
    await world.create_registry()
    with pytest.raises(InvalidInput, match=words):
        await write_components(world, **tls)


@pytest.mark.api
async def test_a_secret_gives_the_certificate_and_is_followed(world):
    first, second = a_pair("quay.example"), a_pair("quay.example")
    await world.create_bundle({"SERVER_HOSTNAME": "quay.example"})
    await world.create_registry({"configBundleSecret": "init-config-bundle-secret"})
    await world.objects.create(SECRETS, a_secret(first), manager="kubectl")
    await write_components(world, managed=False, secretRef={"name": "given"})
    await world.converge()
    found = await conditions(world)
    assert found["Available"][0] == "True"
    assert found["ComponentTLSReady"] == ("True", "Using externally managed TLS certificate")
    route = await world.objects.get(ROUTES, f"{NAME}-quay", NAMESPACE)
    assert route["spec"]["tls"]["termination"] == "passthrough"
    name, pair = await mounted_pair(world)
    assert pair == first
    async with working(world):
        # Rotation, deletion and return are noticed by themselves.
        await write_pair(world, second)

        async def rotated():
            return (await mounted_pair(world))[1] == second

        await until(rotated)
        assert (await mounted_pair(world))[0] != name
        await world.objects.delete(SECRETS, "given", NAMESPACE)

        async def missed():
            found = await conditions(world)
            return found["ComponentTLSReady"][0] == "False"

        await until(missed)
        found = await conditions(world)
        assert found["ComponentTLSReady"][1].startswith("External TLS secret not found")
        assert found["RolloutBlocked"][0] == "True"
        assert found["RolloutBlocked"][1].startswith(FAULT + 'unable to get TLS secret "given": ')
        assert (await mounted_pair(world))[1] == second
        await world.objects.create(SECRETS, a_secret(second), manager="kubectl")

        async def healed():
            found = await conditions(world)
            return found["ComponentTLSReady"][0] == "True" == found["Available"][0]

        await until(healed)
    stored = (await world.objects.get(REGISTRIES, NAME, NAMESPACE))["spec"]["components"]
    assert stored[-1] == {"kind": "tls", "managed": False, "secretRef": {"name": "given"}}
