"""Programs that take the place of etcd and kube-apiserver, to prove how these are started.

`python -m tests.operator.stand_ins DIRECTORY` writes the two. They know the flags that the real ones are given, refuse any
other, and want every file that is named to hold what it should. Behind kube-apiserver's is the
embedded API; behind etcd's only its health, since the embedded API keeps its own objects.
"""

import argparse
import asyncio
import csv
import http.server
import signal
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization
from tests.operator.conftest import NoMachine

from hatoba.cluster.api.assembly import open_api
from hatoba.cluster.api.server import serve
from hatoba.kernel.clock import SystemClock
from hatoba.telemetry.logs import configure_logging

ETCD = ("data-dir", "listen-client-urls", "advertise-client-urls", "listen-peer-urls")
SERVER = (
    "etcd-servers",
    "bind-address",
    "secure-port",
    "tls-cert-file",
    "tls-private-key-file",
    "cert-dir",
    "token-auth-file",
    "service-cluster-ip-range",
    "service-account-issuer",
    "service-account-signing-key-file",
    "service-account-key-file",
)
ROOT = Path(__file__).parents[2]


def write_programs(directory: Path) -> Path:
    """Write both; return where they lie."""
    directory.mkdir()
    for name in ("etcd", "kube-apiserver"):
        path = directory / name
        call = f'cd {ROOT} && exec {sys.executable} -m tests.operator.stand_ins {name} "$@"'
        path.write_text(f"#!/bin/sh\n{call}\n")
        path.chmod(0o755)
    return directory


def etcd(arguments):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ETCD:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--unsafe-no-fsync", choices=["true"], required=True)
    given = parser.parse_args(arguments)
    Path(given.data_dir).mkdir()
    address = urlsplit(given.listen_client_urls)

    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

    http.server.HTTPServer((address.hostname, address.port), Health).serve_forever()


def kube_apiserver(arguments):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in SERVER:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--authorization-mode", choices=["RBAC"], required=True)
    parser.add_argument("--allow-privileged", choices=["true"], required=True)
    parser.add_argument("--disable-admission-plugins", choices=["ServiceAccount"], required=True)
    given = parser.parse_args(arguments)
    private = serialization.load_pem_private_key(
        Path(given.service_account_signing_key_file).read_bytes(), password=None
    )
    public = serialization.load_pem_public_key(Path(given.service_account_key_file).read_bytes())
    if private.public_key() != public:
        parser.error("the keys of service accounts are no pair")
    lines = Path(given.token_auth_file).read_text().splitlines()
    ((token, _name, _uid, groups),) = csv.reader(lines)
    if groups != "system:masters":
        parser.error("nobody is the administrator")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(given.tls_cert_file, given.tls_private_key_file)
    asyncio.run(_serve(given.bind_address, int(given.secure_port), context, token))


async def _serve(host, port, context, token):
    configure_logging(debug=False)
    api = open_api(None, clock=SystemClock(), admin_token=token)
    server = await serve(api, node=NoMachine(), tls=context, host=host, port=port)
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    await ending.wait()
    await server.close()
    api.close()


def main():
    programs = {"etcd": etcd, "kube-apiserver": kube_apiserver}
    if sys.argv[1] in programs:
        programs[sys.argv[1]](sys.argv[2:])
    else:
        print(write_programs(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
