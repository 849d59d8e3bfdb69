"""Which way out of a cluster is chosen, and what it asks for."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.builders import NAME, NAMESPACE, a_plan, owned

from hatoba.operator.components.route import ROUTE
from hatoba.operator.components.tls import TLS
from hatoba.operator.exposure import choose
from hatoba.operator.landscape import (
    Capabilities,
    Gateway,
    IngressClass,
    Issuer,
    TlsSource,
    Way,
)
from hatoba.operator.model import CertificatePair, RolloutBlocked

pytestmark = pytest.mark.alone

PAIR = CertificatePair(certificate=b"certificate", key=b"key")
OWN = {"ssl.cert": b"certificate", "ssl.key": b"key"}


def a_gateway(*listeners, namespace="infra", name="edge", domain=""):
    default = {"allowedRoutes": {"namespaces": {"from": "All"}}}
    return Gateway.read(
        {
            "metadata": {
                "namespace": namespace,
                "name": name,
                "annotations": {"hatoba.dev/domain": domain},
            },
            "spec": {"listeners": [default | entry for entry in listeners]},
        }
    )


HTTPS = {"name": "https", "protocol": "HTTPS", "port": 443, "hostname": "*.apps.example"}
HTTP = {"name": "http", "protocol": "HTTP", "port": 8080}
PASSTHROUGH = {
    "name": "tls",
    "protocol": "TLS",
    "port": 8443,
    "tls": {"mode": "Passthrough"},
    "hostname": "*.apps.example",
}
CLASSES = (IngressClass(name="nginx", is_default=True, domain="apps.example"),)


def capable(**changes):
    return Capabilities(**changes)


def with_gateways(*gateways, **changes):
    return capable(http_routes=True, gateways=gateways, **changes)


def chosen(capabilities, own_certificate=False, **annotations):
    given = {f"hatoba.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return choose(given, capabilities, namespace=NAMESPACE, own_certificate=own_certificate)


def exposed(exposure, *unmanaged, host="registry.example", **changes):
    capabilities = capable(tls_routes=True)
    return a_plan(
        *unmanaged, exposure=exposure, hostname=host, capabilities=capabilities, **changes
    )


def objects_of(plan):
    made = [*ROUTE.objects(plan, None), *TLS.objects(plan, None)]
    return {(obj["kind"], obj["metadata"]["name"].removeprefix(f"{NAME}-")): obj for obj in made}


@pytest.mark.parametrize(
    ("capabilities", "way"),
    [
        (capable(routes=True, http_routes=True, ingress_classes=CLASSES), Way.ROUTE),
        (with_gateways(a_gateway(HTTPS), ingress_classes=CLASSES), Way.GATEWAY),
        (
            with_gateways(a_gateway(HTTPS), a_gateway(HTTPS, name="b"), ingress_classes=CLASSES),
            Way.INGRESS,
        ),
        (capable(ingress_classes=CLASSES), Way.INGRESS),
        (capable(ingress_classes=(IngressClass(name="only"),)), Way.INGRESS),
        (capable(ingress_classes=(IngressClass(name="a"), IngressClass(name="b"))), Way.SERVICE),
        (capable(), Way.SERVICE),
    ],
)
def test_the_best_way_is_taken_that_the_cluster_has(capabilities, way):
    assert chosen(capabilities).way is way


@pytest.mark.parametrize(
    ("annotations", "way"),
    [
        ({"exposure": "Ingress"}, Way.INGRESS),
        ({"ingress_class": "nginx"}, Way.INGRESS),
        ({"gateway": "infra/edge"}, Way.GATEWAY),
        ({"service_type": "NodePort"}, Way.SERVICE),
    ],
)
def test_annotations_choose_another_way(annotations, way):
    capabilities = with_gateways(a_gateway(HTTPS), routes=True, ingress_classes=CLASSES)
    assert chosen(capabilities, **annotations).way is way


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ({"exposure": "Pigeon"}, "`Pigeon` is no way"),
        ({"exposure": "Route"}, "no Route API"),
        ({"exposure": "Gateway"}, "has 2 Gateways"),
        ({"gateway": "infra/nowhere"}, "no Gateway infra/nowhere"),
        ({"gateway": "edge"}, f"no Gateway {NAMESPACE}/edge"),
        ({"ingress_class": "haproxy"}, "no IngressClass haproxy"),
        ({"exposure": "Ingress"}, "no default IngressClass"),
        ({"service_type": "Carrier"}, "`Carrier` is no type"),
        ({"service_type": "NodePort", "issuer": "letsencrypt"}, "no cert-manager"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_the_annotation(annotations, words):
    capabilities = with_gateways(a_gateway(HTTPS), a_gateway(HTTPS, name="b"))
    with pytest.raises(RolloutBlocked) as caught:
        chosen(capabilities, **annotations)
    assert words in caught.value.fact
    assert "hatoba.dev/" in caught.value.fact
    assert caught.value.reason == "RouteComponentDependencyError"


def test_an_issuer_of_an_unknown_kind_is_refused():
    with pytest.raises(RolloutBlocked, match="`Notary` issues no certificates"):
        chosen(capable(certificates=True), service_type="NodePort", issuer="Notary/x")


@pytest.mark.parametrize(
    ("listeners", "own", "picked"),
    [
        ((HTTP, HTTPS), False, "https"),
        ((HTTP,), False, "http"),
        ((HTTPS, PASSTHROUGH), True, "tls"),
        ((HTTPS, PASSTHROUGH), False, "https"),
    ],
)
def test_the_listener_fits_the_certificate(listeners, own, picked):
    capabilities = with_gateways(a_gateway(*listeners), tls_routes=True)
    assert chosen(capabilities, own_certificate=own).listener.name == picked


def test_a_listener_that_takes_no_routes_of_ours_is_none():
    closed = HTTPS | {"allowedRoutes": {"namespaces": {"from": "Same"}}}
    elsewhere = with_gateways(a_gateway(closed))
    with pytest.raises(RolloutBlocked, match=r"Gateway infra/edge has no .* listener"):
        chosen(elsewhere, gateway="infra/edge")
    assert chosen(elsewhere).way is Way.SERVICE
    at_home = a_gateway(closed, namespace=NAMESPACE)
    assert chosen(with_gateways(at_home)).listener.name == "https"


def test_a_gateway_gets_a_route_of_its_listener():
    plan = exposed(chosen(with_gateways(a_gateway(HTTPS))))
    made = objects_of(plan)
    assert set(made) == {("HTTPRoute", "quay"), ("HTTPRoute", "quay-config-editor")}
    spec = made["HTTPRoute", "quay"]["spec"]
    assert spec["hostnames"] == ["registry.example"]
    assert spec["parentRefs"][0]["sectionName"] == "https"
    assert spec["rules"][0]["backendRefs"] == [{"name": f"{NAME}-quay-app", "port": 80}]
    editor = made["HTTPRoute", "quay-config-editor"]["spec"]["hostnames"]
    assert editor == [f"{NAME}-quay-config-editor-{NAMESPACE}.apps.example"]
    assert (plan.scheme, plan.tls_source) == ("https", TlsSource.GATEWAY)


def test_a_gateway_passes_the_users_tls_through():
    exposure = chosen(
        with_gateways(a_gateway(HTTPS, PASSTHROUGH), tls_routes=True), own_certificate=True
    )
    plan = exposed(exposure, "tls", files=OWN)
    made = objects_of(plan)
    assert set(made) == {("TLSRoute", "quay")}
    backend = made["TLSRoute", "quay"]["spec"]["rules"][0]["backendRefs"][0]
    assert backend["port"] == 443
    assert plan.tls_source is TlsSource.BUNDLE
    assert exposure.port_suffix == ":8443"


def test_a_gateway_without_tls_is_said_to_be_plain():
    plan = exposed(chosen(with_gateways(a_gateway(HTTP))))
    assert (plan.scheme, plan.exposure.port_suffix) == ("http", ":8080")
    assert "plain HTTP" in TLS.health(plan, owned()).message


def test_a_pair_that_the_gateway_does_not_show_is_said_to_be_idle():
    exposure = chosen(with_gateways(a_gateway(HTTPS)), own_certificate=True)
    verdict = TLS.health(exposed(exposure, "tls", files=OWN), owned())
    assert verdict.ready
    assert "is not what clients see" in verdict.message


@pytest.mark.parametrize(
    ("changes", "source", "secret"),
    [
        ({"files": OWN}, TlsSource.BUNDLE, "quay-ingress-tls-"),
        ({"pair": PAIR}, TlsSource.SELF_SIGNED, "quay-ingress-tls-"),
    ],
)
def test_an_ingress_shows_a_pair_of_ours(changes, source, secret):
    unmanaged = ("tls",) if "files" in changes else ()
    plan = exposed(chosen(capable(ingress_classes=CLASSES)), *unmanaged, **changes)
    made = objects_of(plan)
    assert plan.tls_source is source
    (kept,) = [obj for (kind, _), obj in made.items() if kind == "Secret"]
    assert kept["type"] == "kubernetes.io/tls"
    assert kept["metadata"]["name"].startswith(f"{NAME}-{secret}")
    spec = made["Ingress", "quay"]["spec"]
    assert spec["ingressClassName"] == "nginx"
    assert spec["tls"] == [{"hosts": ["registry.example"], "secretName": kept["metadata"]["name"]}]


def test_layers_pass_an_ingress_of_nginx():
    made = objects_of(exposed(chosen(capable(ingress_classes=CLASSES)), pair=PAIR))
    annotations = made["Ingress", "quay"]["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == "0"


def test_cert_manager_is_asked_when_it_is_there():
    issuers = (Issuer(kind="ClusterIssuer", name="letsencrypt"),)
    exposure = chosen(capable(ingress_classes=CLASSES, certificates=True, issuers=issuers))
    plan = exposed(exposure)
    made = objects_of(plan)
    spec = made["Certificate", "quay-issued-tls"]["spec"]
    assert spec["dnsNames"][0] == "registry.example"
    assert spec["issuerRef"]["name"] == "letsencrypt"
    assert made["Ingress", "quay"]["spec"]["tls"][0]["secretName"] == spec["secretName"]
    waiting = TLS.health(plan, owned(made["Certificate", "quay-issued-tls"]))
    assert not waiting.ready
    assert f"Certificate {NAME}-quay-issued-tls is not ready" in waiting.message


def test_a_self_signed_certificate_is_noted_with_both_ways_out():
    message = TLS.health(
        exposed(chosen(capable(ingress_classes=CLASSES)), pair=PAIR, bundle_name="bundle"), owned()
    ).message
    assert "which clients do not trust" in message
    assert "Secret bundle" in message
    assert "hatoba.dev/issuer" in message


def test_without_a_host_nothing_is_exposed_and_the_condition_says_what_to_set():
    inside = f"{NAME}-quay-app.{NAMESPACE}.svc:8080"
    exposure = chosen(capable(ingress_classes=(IngressClass(name="nginx", is_default=True),)))
    plan = exposed(exposure, host=inside, bundle_name="bundle")
    assert objects_of(plan) == {}
    verdict = ROUTE.health(plan, owned())
    assert verdict.ready
    assert "set SERVER_HOSTNAME in Secret bundle" in verdict.message
    assert plan.scheme == "http"


def test_a_service_ends_tls_in_the_registry_itself():
    exposure = chosen(capable(), service_type="LoadBalancer")
    plan = exposed(exposure, pair=PAIR)
    spec = objects_of(plan)["Service", "quay"]["spec"]
    assert spec["type"] == "LoadBalancer"
    assert [port["targetPort"] for port in spec["ports"]] == [8443, 8080]
    assert spec["selector"]["quay-component"] == "quay-app"
    assert plan.ends_tls_itself
    assert plan.served_pair == {"ssl.cert": b"certificate", "ssl.key": b"key"}
    assert not ROUTE.configuration(plan)["EXTERNAL_TLS_TERMINATION"]


@given(
    st.dictionaries(
        st.sampled_from(["exposure", "gateway", "ingress_class", "service_type", "issuer"]),
        st.sampled_from(["Route", "Gateway", "Ingress", "Service", "NodePort", "x/y", "nginx", ""]),
    ),
    st.booleans(),
)
def test_every_annotation_is_followed_or_refused(annotations, own):
    capabilities = with_gateways(a_gateway(HTTPS), ingress_classes=CLASSES, certificates=True)
    asked = annotations.get("exposure")
    # A refusal is an answer too; anything else that is raised fails the test.
    with suppress(RolloutBlocked):
        found = chosen(capabilities, own_certificate=own, **annotations)
        assert not asked or found.way == asked
