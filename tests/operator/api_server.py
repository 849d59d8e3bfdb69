"""The embedded cluster's API server alone, over TLS: `python -m tests.operator.api_server DIRECTORY`.

No controllers, no kubelet, no nodes: what HATOBA_TEST_KUBECONFIG asks for. It writes DIRECTORY's
`kubeconfig`, prints its path, and serves until it is told to end.
"""

import asyncio
import signal
import ssl
import sys
from pathlib import Path

import yaml
from tests.operator.conftest import NoMachine
from tests.peers import self_signed

from hatoba.cluster.api.assembly import open_api
from hatoba.cluster.api.server import serve
from hatoba.kernel.clock import SystemClock
from hatoba.kernel.ids import new_uuid
from hatoba.telemetry.logs import configure_logging


async def run(directory):
    configure_logging(debug=False)
    token = new_uuid()
    api = open_api(None, clock=SystemClock(), admin_token=token)
    certificate, key = self_signed(directory, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await serve(api, node=NoMachine(), tls=context)
    cluster = {
        "server": f"https://localhost:{server.port}",
        "certificate-authority": str(certificate),
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "alone", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "alone", "context": {"cluster": "alone", "user": "admin"}}],
        "current-context": "alone",
    }
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    print(path, flush=True)
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    await ending.wait()
    await server.close()
    api.close()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
