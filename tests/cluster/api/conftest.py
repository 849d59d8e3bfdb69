import aiohttp
import pytest
import yaml
from tests.cluster.api.served import TOKEN, Cluster, FakeNode, write_certificate

from hatoba.cluster.api.assembly import open_api
from hatoba.cluster.api.local import LocalObjects
from hatoba.cluster.api.server import serve
from hatoba.cluster.objects import NAMESPACES, SERVICE_ACCOUNTS
from hatoba.kernel.clock import SystemClock


@pytest.fixture
async def cluster():
    api = open_api(None, clock=SystemClock(), admin_token=TOKEN)
    objects = LocalObjects(api)
    for name in ("default", "kube-system"):
        await objects.create(NAMESPACES, {"metadata": {"name": name}}, manager="test")
        account = {"metadata": {"name": "default", "namespace": name}}
        await objects.create(SERVICE_ACCOUNTS, account, manager="test")
    server = await serve(api, node=FakeNode(), tls=None)
    async with aiohttp.ClientSession() as session:
        yield Cluster(api, server, objects, session)
    await server.close()
    api.close()


@pytest.fixture
async def tls_cluster(tmp_path):
    api = open_api(None, clock=SystemClock(), admin_token=TOKEN)
    objects = LocalObjects(api)
    for name in ("default", "kube-system"):
        await objects.create(NAMESPACES, {"metadata": {"name": name}}, manager="test")
        account = {"metadata": {"name": "default", "namespace": name}}
        await objects.create(SERVICE_ACCOUNTS, account, manager="test")
    server = await serve(api, node=FakeNode(), tls=write_certificate(tmp_path))
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "c",
                "cluster": {
                    "server": f"https://{server.address}",
                    "certificate-authority": str(tmp_path / "ca.pem"),
                },
            }
        ],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    yield objects, tmp_path
    await server.close()
    api.close()
