import json
import socket

import pytest

from hatoba.cluster.controllers.values import Key
from hatoba.cluster.router.ports import Ports
from hatoba.cluster.router.targets import (
    Backend,
    addresses,
    edge_of_ingress,
    edge_of_route,
    is_ours,
)


def route(**spec):
    spec = {"to": {"kind": "Service", "name": "app"}, "port": {"targetPort": "http"}, **spec}
    return {"metadata": {"namespace": "ns", "name": "r"}, "spec": spec}


def service(*ports):
    return {"metadata": {"namespace": "ns", "name": "app"}, "spec": {"ports": list(ports)}}


def endpoint_slice(name, ports, *endpoints):
    return {
        "metadata": {"namespace": "ns", "labels": {"kubernetes.io/service-name": name}},
        "ports": ports,
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": ready}} for address, ready in endpoints
        ],
    }


HTTP = {"name": "http", "port": 80, "targetPort": 8080}
HTTPS = {"name": "https", "port": 443, "targetPort": 8443}
SLICE = endpoint_slice(
    "app",
    [{"name": "http", "port": 8080}, {"name": "https", "port": 8443}],
    ("127.0.0.2", True),
    ("127.0.0.3", False),
    ("127.0.0.4", True),
)


@pytest.mark.parametrize("port", ["http", 80, 8080])
def test_a_backend_is_the_ready_pods_of_the_named_port(port):
    backend = Backend(service=Key("ns", "app"), port=port)
    found = addresses(backend, service=service(HTTPS, HTTP), slices=[SLICE])
    assert found == [("127.0.0.2", 8080), ("127.0.0.4", 8080)]


def test_slices_of_other_services_are_not_taken():
    backend = Backend(service=Key("ns", "other"), port="http")
    assert addresses(backend, service=None, slices=[SLICE]) == []


def test_a_route_with_edge_termination_redirects_when_it_says_so():
    edge = edge_of_route(
        route(tls={"termination": "edge", "insecureEdgeTerminationPolicy": "Redirect"})
    )
    assert (edge.termination, edge.redirects_insecure) == ("edge", True)


def test_a_route_without_tls_is_plain():
    assert edge_of_route(route()).termination == "none"


def test_the_longest_path_of_an_ingress_wins():
    def path(path, name):
        return {
            "path": path,
            "backend": {"service": {"name": name, "port": {"number": 80}}},
        }

    ingress = {
        "metadata": {"namespace": "ns", "name": "i"},
        "spec": {"rules": [{"http": {"paths": [path("/", "web"), path("/v2", "registry")]}}]},
    }
    edge = edge_of_ingress(ingress)
    names = [edge.backend_for(path).service.name for path in ("/", "/v2", "/v2/a", "/v21")]
    assert names == ["web", "registry", "registry", "web"]


def test_an_ingress_of_another_class_is_not_ours():
    assert is_ours({"metadata": {}, "spec": {}})
    assert not is_ours({"metadata": {}, "spec": {"ingressClassName": "nginx"}})


def close(sockets):
    for one in sockets:
        one.close()


def test_a_port_is_kept_across_restarts(tmp_path):
    file = tmp_path / "routes.json"
    port, sockets = Ports(file, hosts=["127.0.0.1"], preferred=[]).open("a")
    close(sockets)
    again, sockets = Ports(file, hosts=["127.0.0.1"], preferred=[]).open("a")
    close(sockets)
    assert again == port


def test_a_port_that_somebody_else_took_is_given_up(tmp_path):
    file = tmp_path / "routes.json"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        file.write_text(json.dumps({"a": taken.getsockname()[1]}))
        port, sockets = Ports(file, hosts=["127.0.0.1"], preferred=[]).open("a")
        close(sockets)
        assert port != taken.getsockname()[1]


def test_a_damaged_assignment_costs_the_ports_not_the_start(tmp_path):
    file = tmp_path / "routes.json"
    file.write_text("{")
    _, sockets = Ports(file, hosts=["127.0.0.1"], preferred=[]).open("a")
    close(sockets)
