"""Scanner, mirror and config editor: each does its work in its own pods."""

import json
import re
import subprocess

import pytest
from tests.peers import docker_registry
from tests.walkthrough.embedded import NAMESPACE, REGISTRY, curl, need
from tests.walkthrough.images import Layout, random_files

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

OS_RELEASE = b'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian 12"\n'
DPKG_STATUS = b"""Package: openssl
Status: install ok installed
Architecture: amd64
Version: 3.0.0-1
Description: test
"""
ADVISORIES = {
    "openssl": {
        "CVE-2099-0001": {
            "description": "a hole made for this test",
            "releases": {
                "bookworm": {
                    "status": "resolved", "fixed_version": "3.0.11-1", "urgency": "high",
                    "repositories": {"bookworm": "3.0.11-1"},
                }
            },
        }
    }
}  # fmt: skip


def test_a_vulnerability_report_on_what_was_pushed(registry, tmp_path):
    home = registry.home
    (tmp_path / "advisories.json").write_text(json.dumps(ADVISORIES))
    imported = home.shell(
        f"kubectl exec -i -n {NAMESPACE} deploy/{REGISTRY}-clair-app -- "
        f"hatoba scanner import - < {tmp_path}/advisories.json"
    )
    assert "1 advisories" in imported
    layout = Layout(tmp_path / "image")
    system = {"etc/os-release": OS_RELEASE, "usr/lib/os-release": OS_RELEASE}
    descriptor = layout.image(
        [system, {"var/lib/dpkg/status": DPKG_STATUS, "var/lib/dpkg/info/openssl.list": b""}]
    )
    registry.copy(layout.tag("vulnerable", descriptor), "testorg/scanned:1")
    path = f"/api/v1/repository/testorg/scanned/manifest/{descriptor['digest']}/security"

    def report():
        status, body = registry.api(f"{path}?vulnerabilities=true")
        assert status == 200, body
        return body if body["status"] == "scanned" else None

    layer = home.until(report, what="the report", timeout=150)["data"]["Layer"]
    (feature,) = [f for f in layer["Features"] if f["Name"] == "openssl"]
    assert feature["Version"] == "3.0.0-1"
    assert [v["Name"].split()[0] for v in feature["Vulnerabilities"]] == ["CVE-2099-0001"]
    assert feature["Vulnerabilities"][0]["FixedBy"] == "3.0.11-1"


def test_a_repository_is_mirrored_from_another_registry(registry, tmp_path):
    need("skopeo", "docker-registry")
    home = registry.home
    layout = Layout(tmp_path / "image")
    descriptor = layout.image([random_files(7)])
    (tmp_path / "peer").mkdir()
    with docker_registry(tmp_path / "peer") as peer:
        for tag in ("v1", "v2", "other"):
            subprocess.run(
                ["skopeo", "copy", "-q", "--dest-tls-verify=false",
                 f"--dest-creds={peer.username}:{peer.password}",
                 layout.tag(tag, descriptor), f"docker://{peer.host}/team/app:{tag}"],
                check=True, timeout=60,
            )  # fmt: skip
        registry.api("/api/v1/organization/testorg/robots/mirrorer", method="PUT", data={})
        status, body = registry.api(
            "/api/v1/repository",
            data={"namespace": "testorg", "repository": "mirrored", "visibility": "private",
                  "description": ""},
        )  # fmt: skip
        assert status == 201, body
        mirror = "/api/v1/repository/testorg/mirrored/mirror"
        status, body = registry.api(
            mirror,
            data={
                "external_reference": f"127.0.0.1:{peer.port}/team/app",
                "external_registry_username": peer.username,
                "external_registry_password": peer.password,
                "sync_interval": 3600, "sync_start_date": "2026-01-02T03:04:05Z",
                "root_rule": {"rule_kind": "tag_glob_csv", "rule_value": ["v*"]},
                "robot_username": "testorg+mirrorer", "is_enabled": True,
                "external_registry_config": {"verify_tls": False},
            },
        )  # fmt: skip
        # Private addresses are refused unless the configuration names them.
        assert (status, body["detail"]) == (400, "The provided registry location is not allowed")
        allow_private_source(registry)
        status, body = registry.api(
            mirror,
            data={
                "external_reference": f"127.0.0.1:{peer.port}/team/app",
                "external_registry_username": peer.username,
                "external_registry_password": peer.password,
                "sync_interval": 3600, "sync_start_date": "2026-01-02T03:04:05Z",
                "root_rule": {"rule_kind": "tag_glob_csv", "rule_value": ["v*"]},
                "robot_username": "testorg+mirrorer", "is_enabled": True,
                "external_registry_config": {"verify_tls": False},
            },
        )  # fmt: skip
        assert status == 201, body
        assert registry.api(f"{mirror}/sync-now", method="POST")[0] == 204

        def synchronised():
            _, body = registry.api(mirror)
            return body["sync_status"] == "SUCCESS"

        home.until(synchronised, what="the synchronisation", timeout=120)
    _, body = registry.api("/api/v1/repository/testorg/mirrored/tag/?onlyActiveTags=true")
    assert sorted(tag["name"] for tag in body["tags"]) == ["v1", "v2"]
    assert {tag["manifest_digest"] for tag in body["tags"]} == {descriptor["digest"]}


def editor(registry):
    """The editor's address and its credentials, as its owner finds them."""
    status = registry.home.get("quayregistry", REGISTRY)["status"]
    secret = registry.home.get("secret", status["configEditorCredentialsSecret"])
    username, password = (
        subprocess.run(
            ["base64", "-d"], input=secret["data"][key], text=True, capture_output=True, check=True
        ).stdout
        for key in ("username", "password")
    )
    return status["configEditorEndpoint"], ["-u", f"{username}:{password}"]


def reconfigure(registry, **changes):
    """Change keys with the editor's API, and wait until the pods serve the new bundle."""
    home = registry.home
    endpoint, credentials = editor(registry)
    status, bundle = curl(home, f"{endpoint}/api/v1/config", *credentials)
    assert status == 200, bundle
    before = home.get("quayregistry", REGISTRY)["spec"]["configBundleSecret"]
    config = {**bundle["config.yaml"], **changes}
    status, answer = curl(
        home, f"{endpoint}/api/v1/config/operator", *credentials,
        data={"config.yaml": config, "certs": bundle.get("certs", {}),
              "managedFieldGroups": ["Database", "Redis", "DistributedStorage", "HostSettings", "SecurityScanner", "RepoMirror"]},
    )  # fmt: skip
    assert status == 200, answer
    after = home.until(
        lambda: (name := home.get("quayregistry", REGISTRY)["spec"]["configBundleSecret"]) != before
        and name,
        what="the new bundle", timeout=60,
    )  # fmt: skip
    home.kubectl(
        "rollout", "status", f"deployment/{REGISTRY}-quay-app", "-n", NAMESPACE,
        "--timeout=200s", timeout=220,
    )  # fmt: skip
    return after


def title(registry) -> str:
    _, body = curl(registry.home, f"{registry.endpoint}/config")
    return body["config"]["REGISTRY_TITLE"]


def allow_private_source(registry) -> None:
    reconfigure(registry, SSRF_ALLOWED_HOSTS=["127.0.0.1"])
    home = registry.home
    home.kubectl(
        "rollout", "status", f"deployment/{REGISTRY}-quay-mirror", "-n", NAMESPACE,
        "--timeout=200s", timeout=220,
    )  # fmt: skip

    def only_new_pods():
        deployment = home.get("deployment", f"{REGISTRY}-quay-app")["status"]
        return (
            deployment.get("replicas")
            == deployment.get("updatedReplicas")
            == deployment.get("readyReplicas")
        )

    home.until(only_new_pods, what="the old pods to end", timeout=120)


def test_the_editor_refuses_wrong_credentials(registry):
    endpoint, _ = editor(registry)
    assert curl(registry.home, f"{endpoint}/")[0] == 401
    assert curl(registry.home, f"{endpoint}/", "-u", "quayconfig:wrong")[0] == 401


def test_the_editor_shows_a_form(registry):
    endpoint, credentials = editor(registry)
    status, page = curl(registry.home, f"{endpoint}/", *credentials)
    assert status == 200
    assert re.search(r'name="[^"]*REGISTRY_TITLE"', page)


def test_the_editor_validates_field_by_field(registry):
    endpoint, credentials = editor(registry)
    status, findings = curl(
        registry.home, f"{endpoint}/api/v1/config/validate?mode=offline", *credentials,
        data={"config.yaml": {"SUPER_USERS": "quayadmin"}, "certs": {}},
    )  # fmt: skip
    assert status == 200
    assert any("SUPER_USERS" in finding["Tags"] for finding in findings)


def test_a_reconfiguration_in_the_editor_reaches_the_pods(registry):
    reconfigure(registry, REGISTRY_TITLE="Edited title")
    registry.home.until(lambda: title(registry) == "Edited title", what="the new title", timeout=60)
    registry.home.available()
