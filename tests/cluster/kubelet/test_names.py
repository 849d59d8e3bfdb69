"""Service names: hosts files, and that programs resolve by them."""

import subprocess
import sys

import pytest

from hatoba.cluster.controllers.values import Key
from hatoba.cluster.kubelet.addresses import Addresses, NoAddressLeft
from hatoba.cluster.kubelet.names import (
    ServiceNames,
    WrapperMissing,
    addresses_of,
    find_wrapper,
    hosts_text,
)


def service(name: str = "db", **spec) -> dict:
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterIP": "127.9.128.1", **spec},
    }


def endpoints(*ready: str, unready: tuple[str, ...] = ()) -> dict:
    return {
        "subsets": [
            {
                "addresses": [{"ip": address} for address in ready],
                "notReadyAddresses": [{"ip": address} for address in unready],
            }
        ]
    }


def test_a_name_stands_for_its_ready_pods():
    found = addresses_of(service(), endpoints("127.9.0.3", "127.9.0.2", unready=("127.9.0.4",)))
    assert found == ["127.9.0.2", "127.9.0.3"]


def test_a_name_without_ready_pods_refuses_connections_instead_of_being_unknown():
    assert addresses_of(service(), None) == ["127.9.128.1"]
    assert addresses_of(service(clusterIP="None"), None) == []


def test_unready_pods_are_named_where_the_service_wants_it():
    wanted = service(publishNotReadyAddresses=True)
    assert addresses_of(wanted, endpoints(unready=("127.9.0.4",))) == ["127.9.0.4"]


def test_short_names_belong_to_their_namespace():
    table = {Key("shop", "db"): ["127.9.0.2"]}
    assert "127.9.0.2 db db.shop db.shop.svc db.shop.svc.cluster.local\n" in hosts_text(
        "shop", table
    )
    assert "127.9.0.2 db.shop db.shop.svc db.shop.svc.cluster.local\n" in hosts_text("else", table)


def test_programs_see_changes_at_once(tmp_path):
    try:
        find_wrapper()
    except WrapperMissing as missing:
        pytest.skip(missing.message)
    names = ServiceNames(tmp_path)
    key = Key("shop", "db")
    names.update(["shop"], [service()], {key: endpoints("127.9.0.2", "127.9.0.3")})
    script = (
        "import socket, sys\n"
        "def ask():\n"
        "    found = {a[4][0] for a in socket.getaddrinfo('db', 1)}\n"
        "    print(*sorted(found), flush=True)\n"
        "ask()\n"
        "for line in sys.stdin: ask()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=names.variables("shop"),
    ) as program:
        assert program.stdout.readline() == "127.9.0.2 127.9.0.3\n"
        for address in ("127.9.0.7", "127.9.0.8"):
            names.update(["shop"], [service()], {key: endpoints(address)})
            program.stdin.write("again\n")
            program.stdin.flush()
            assert program.stdout.readline() == f"{address}\n"
        program.stdin.close()


def test_files_of_vanished_namespaces_go(tmp_path):
    names = ServiceNames(tmp_path)
    names.update(["shop", "default"], [], {})
    names.update(["default"], [], {})
    assert not names.path("shop").exists()
    assert names.path("default").exists()


def test_addresses_are_distinct_and_reused_late():
    addresses = Addresses(9)
    first, second = addresses.allocate("a"), addresses.allocate("b")
    assert first != second
    assert addresses.allocate("a") == first
    addresses.release("a")
    assert addresses.allocate("c") not in {first, second}


def test_an_address_from_before_is_claimed_once_and_only_in_the_own_block():
    addresses = Addresses(9)
    assert addresses.claim("127.9.0.5", owner="a")
    assert not addresses.claim("127.9.0.5", owner="b")
    assert not addresses.claim("127.8.0.5", owner="b")
    assert addresses.allocate("b") == "127.9.0.6"


def test_a_full_block_says_so():
    addresses = Addresses(9)
    for number in range(40_000):
        addresses.claim(f"127.9.{number // 256}.{number % 256}", owner=str(number))
    with pytest.raises(NoAddressLeft):
        addresses.allocate("new")
