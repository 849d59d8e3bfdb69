"""Our registry and our scanner, each serving over loopback, from push to report."""

import base64
import json

import httpx2
import pytest
from tests.registry.conftest import SETTINGS
from tests.scanner.conftest import KEY, running_scanner, settings_for
from tests.scanner.images import DEBIAN_RELEASE, dpkg_status, layer
from tests.scanner.test_flow import TRACKER

from hatoba.config.loader import Configuration
from hatoba.config.schema import QuayConfig
from hatoba.kernel.digests import Digest
from hatoba.registry.app import make_application, open_services
from hatoba.registry.db.migrate import migrate_registry
from hatoba.scanner.migrate import migrate_scanner
from hatoba.serving.listeners import listening
from hatoba.sql.engine import open_database

pytestmark = pytest.mark.anyio
HOST = SETTINGS["SERVER_HOSTNAME"]


async def migrated(uri, migrate):
    database = open_database(uri)
    await migrate(database)
    await database.close()


def configuration(directory, *, scanner_url, registry_url):
    values = SETTINGS | {
        "DB_URI": f"sqlite:///{directory}/registry.db",
        "DISTRIBUTED_STORAGE_CONFIG": {
            "default": ["LocalStorage", {"storage_path": str(directory / "blobs")}]
        },
        "FEATURE_SECURITY_SCANNER": True,
        "SECURITY_SCANNER_V4_ENDPOINT": scanner_url,
        "SECURITY_SCANNER_V4_PSK": base64.b64encode(KEY).decode(),
        "SECURITY_SCANNER_REGISTRY_URL": registry_url,
    }
    return Configuration(directory=directory, settings=QuayConfig.model_validate(values), unused=())


async def push_image(client, *blobs):
    """Push an image of these layers as an image client does; return its digest."""
    params = {"service": HOST, "scope": "repository:quayadmin/app:pull,push"}
    answer = await client.get("/v2/auth", params=params, auth=("quayadmin", "quaypass123"))
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
    descriptors = []
    for content in (config, *blobs):
        digest = str(Digest.of(content))
        pushed = await client.post(
            "/v2/quayadmin/app/blobs/uploads/",
            params={"digest": digest},
            content=content,
            headers=headers | {"Content-Type": "application/octet-stream"},
        )
        assert pushed.status_code == 201, pushed.text
        descriptors.append({"digest": digest, "size": len(content)})
    layer_type = "application/vnd.oci.image.layer.v1.tar+gzip"
    media_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **descriptors[0]},
        "layers": [{"mediaType": layer_type, **one} for one in descriptors[1:]],
    }
    content = json.dumps(manifest).encode()
    stored = await client.put(
        "/v2/quayadmin/app/manifests/v1",
        content=content,
        headers=headers | {"Content-Type": media_type},
    )
    assert stored.status_code == 201, stored.text
    return str(Digest.of(content))


async def test_a_pushed_debian_image_gets_its_vulnerability_report(tmp_path):
    scanner_uri = f"sqlite:///{tmp_path}/scanner.db"
    await migrated(scanner_uri, migrate_scanner)
    await migrated(f"sqlite:///{tmp_path}/registry.db", migrate_registry)

    async def late(scope, receive, send):
        await application(scope, receive, send)

    async with running_scanner(settings_for(scanner_uri)) as scanner, listening(late) as server:
        await scanner.services.updating.import_file(json.dumps(TRACKER).encode())
        settings = configuration(tmp_path, scanner_url=scanner.url, registry_url=server.url)
        async with (
            open_services(settings) as services,
            httpx2.AsyncClient(base_url=server.url, timeout=30) as client,
        ):
            application = make_application(services)
            first = {"username": "quayadmin", "password": "quaypass123", "access_token": True}
            token = (await client.post("/api/v1/user/initialize", json=first)).json()
            digest = await push_image(
                client,
                layer(
                    {
                        "etc/os-release": DEBIAN_RELEASE,
                        "var/lib/dpkg/status": dpkg_status(
                            ("libssl3", "3.0.11-1~deb12u1", "openssl")
                        ),
                    }
                ),
            )
            assert services.rooms.scanning is not None
            assert await services.rooms.scanning.index_due() == 1
            answer = await client.get(
                f"/api/v1/repository/quayadmin/app/manifest/{digest}/security",
                headers={"Authorization": f"Bearer {token['access_token']}"},
            )
    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, "scanned")
    (feature,) = body["data"]["Layer"]["Features"]
    assert feature["Name"] == "libssl3"
    found = {one["Name"]: one["FixedBy"] for one in feature["Vulnerabilities"]}
    assert found == {"CVE-2023-0001": "3.0.11-1~deb12u2", "CVE-2023-0003": ""}
