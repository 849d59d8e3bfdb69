"""The JSON API of config-tool."""

import io
import tarfile

import pytest
import yaml
from tests.editor.conftest import CONFIG

pytestmark = pytest.mark.anyio
API = "/api/v1/config"


async def test_the_configuration_is_given_over_the_defaults(editor):
    response, _ = await editor.get(API)
    assert response.status == 200
    document = await (await editor.session.get(editor.url + API)).json()
    assert document["config.yaml"].items() >= CONFIG.items()
    assert document["config.yaml"]["V2_PAGINATION_SIZE"] == 50
    assert document["certs"] == {"extra_ca_certs/ours.crt": "UEVN"}


async def test_without_a_mounted_configuration_it_is_202(editor, directory):
    (directory / "config.yaml").unlink()
    response, _ = await editor.get(API)
    assert response.status == 202


async def test_validation_lists_faults_by_field_group(editor):
    body = {"config.yaml": {"V2_PAGINATION_SIZE": 0, "FEATURE_SECURITY_SCANNER": "x"}, "certs": {}}
    async with editor.session.post(
        f"{editor.url}{API}/validate?mode=offline", json=body
    ) as response:
        faults = await response.json()
    assert {(fault["FieldGroup"], *fault["Tags"]) for fault in faults} == {
        ("TimeMachine", "V2_PAGINATION_SIZE"),
        ("SecurityScanner", "FEATURE_SECURITY_SCANNER"),
    }
    assert all(fault["Message"] for fault in faults)


async def test_a_valid_configuration_has_no_faults(editor):
    response, body = await editor.post(f"{API}/validate", json={"config.yaml": CONFIG})
    assert (response.status, body) == (200, b"[]")


async def test_handing_over_leaves_out_managed_groups_but_the_host(editor, operator):
    body = {
        "config.yaml": CONFIG,
        "certs": {"ssl.cert": "Q0VSVA=="},
        "managedFieldGroups": ["Database", "HostSettings"],
    }
    response, answer = await editor.post(f"{API}/operator", json=body)
    assert (response.status, answer) == (200, operator.answer)
    [(_, _, _, sent)] = operator.received
    assert sent["config.yaml"] == {k: v for k, v in CONFIG.items() if k != "DB_URI"}
    assert sent["certs"] == {"ssl.cert": "Q0VSVA=="}


async def test_the_operators_refusal_is_relayed(editor, operator):
    operator.status, operator.answer = 500, b"no such registry"
    response, answer = await editor.post(f"{API}/operator", json={"config.yaml": {}})
    assert (response.status, answer) == (500, b"no such registry")


async def test_the_bundle_is_downloaded(editor):
    body = {"config.yaml": {"A": 1}, "certs": {"ssl.cert": "Q0VSVA=="}}
    response, content = await editor.post(f"{API}/download", json=body)
    assert "quay-config.tar.gz" in response.headers["Content-Disposition"]
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert yaml.safe_load(archive.extractfile("config.yaml")) == {"A": 1}
        assert archive.extractfile("ssl.cert").read() == b"CERT"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"config.yaml": 1}', b'{"config.yaml": {}, "certs": {"a": "?"}}']
)
async def test_other_bodies_are_bad_requests(editor, body):
    kind = {"Content-Type": "application/json"}
    response, _ = await editor.post(f"{API}/validate", data=body, headers=kind)
    assert response.status == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_bodies_that_a_foreign_page_could_send_are_refused(editor, operator, headers):
    response, _ = await editor.post(f"{API}/operator", data=b'{"config.yaml": {}}', headers=headers)
    assert (response.status, operator.received) == (403, [])


async def test_unknown_modes_are_bad_requests(editor):
    response, _ = await editor.post(f"{API}/validate?mode=other", json={"config.yaml": {}})
    assert response.status == 400
