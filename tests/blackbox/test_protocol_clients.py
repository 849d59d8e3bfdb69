"""What clients send that are not at hand here, request by request, as their documentation says.

skopeo, podman and buildah themselves are in `test_skopeo` and `test_podman`.
"""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.blackbox.test_protocol import Client

from hatoba.kernel.digests import Digest
from hatoba.oci import media_types as types

pytestmark = pytest.mark.timeout(120)
OCTETS = "application/octet-stream"
ACCEPTED = [types.DOCKER_MANIFEST, types.DOCKER_LIST, types.OCI_INDEX, types.OCI_MANIFEST]
DOCKER_ACCEPTS = ", ".join(ACCEPTED)


@pytest.fixture
def client(registry, request):
    name = request.node.originalname.removeprefix("test_").replace("_", "-")[:60].strip("-")
    return Client(registry, f"admin/{name}")


def described(content: bytes, media_type: str, **more):
    return {
        "mediaType": media_type,
        "digest": str(Digest.of(content)),
        "size": len(content),
        **more,
    }


def upload(client, content: bytes) -> None:
    """As docker and jib: look, begin, stream, close with an empty PUT."""
    digest = Digest.of(content)
    assert client.call("HEAD", f"/blobs/{digest}").status == 404
    location = client.start()
    streamed = iter([content[:3], content[3:]])
    assert client.call("PATCH", location, body=streamed, Content_Type=OCTETS).status == 202
    closed = client.call("PUT", f"{location}?digest={digest}", Content_Length="0")
    assert closed.status == 201
    assert client.call("HEAD", f"/blobs/{digest}").status == 200


def put_at_once(client, content: bytes, media_type: str, **more):
    """As oras and containerd: look, begin, send everything with the PUT."""
    digest = Digest.of(content)
    assert client.call("HEAD", f"/blobs/{digest}").status in {200, 404}
    location = client.start()
    sent = client.call("PUT", f"{location}?digest={digest}", body=content, Content_Type=OCTETS)
    assert sent.status == 201
    return described(content, media_type, **more)


def test_docker_pushes_and_pulls(client) -> None:
    config, layer = b'{"os":"linux"}', gzip.compress(b"docker", mtime=0)
    for content in (layer, config):
        upload(client, content)
    gzipped = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    document = {
        "schemaVersion": 2,
        "mediaType": types.DOCKER_MANIFEST,
        "config": described(config, types.DOCKER_CONFIG),
        "layers": [described(layer, gzipped)],
    }
    content = json.dumps(document, indent=3).encode()
    assert client.push("latest", content, types.DOCKER_MANIFEST).status == 201
    head = client.call("HEAD", "/manifests/latest", Accept=DOCKER_ACCEPTS)
    digest = head.headers["docker-content-digest"]
    pulled = client.call("GET", f"/manifests/{digest}", Accept=DOCKER_ACCEPTS)
    assert (pulled.body, pulled.headers["content-type"]) == (content, types.DOCKER_MANIFEST)
    for blob in (config, layer):
        assert client.call("GET", f"/blobs/{Digest.of(blob)}").body == blob


def test_helm_pushes_a_chart(client) -> None:
    chart = gzip.compress(b"a chart", mtime=0)
    document = {
        "schemaVersion": 2,
        "config": put_at_once(
            client,
            b'{"name":"web","version":"1.2.3+build.4"}',
            "application/vnd.cncf.helm.config.v1+json",
        ),
        "layers": [
            put_at_once(client, chart, "application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
            put_at_once(client, b"signed", "application/vnd.cncf.helm.chart.provenance.v1.prov"),
        ],
        "annotations": {"org.opencontainers.image.version": "1.2.3+build.4"},
    }
    content = json.dumps(document).encode()
    # A tag has no plus: helm writes an underscore.
    assert client.push("1.2.3_build.4", content).status == 201
    assert client.call("GET", "/tags/list").json["tags"] == ["1.2.3_build.4"]
    pulled = client.call("GET", "/manifests/1.2.3_build.4", Accept=types.OCI_MANIFEST)
    assert client.call("GET", f"/blobs/{pulled.json['layers'][0]['digest']}").body == chart


def signature(client, subject=None) -> bytes:
    payload = b'{"critical":{"type":"cosign container image signature"}}'
    simple = "application/vnd.dev.cosign.simplesigning.v1+json"
    layer = put_at_once(
        client, payload, simple, annotations={"dev.cosignproject.cosign/signature": "MEUC"}
    )
    config = put_at_once(client, b'{"rootfs":{"diff_ids":[]}}', types.OCI_CONFIG)
    document = {
        "schemaVersion": 2,
        "mediaType": types.OCI_MANIFEST,
        "config": config,
        "layers": [layer],
        **({"subject": subject} if subject else {}),
    }
    return json.dumps(document).encode()


def test_cosign_signs_by_a_tag(client) -> None:
    image = client.image("signed")
    client.push("v1", image)
    tag = f"sha256-{Digest.of(image).hex}.sig"
    absent = client.call("GET", f"/manifests/{tag}")
    assert (absent.status, absent.code) == (404, "MANIFEST_UNKNOWN")
    content = signature(client)
    assert client.push(tag, content).status == 201
    assert client.call("GET", f"/manifests/{tag}").body == content
    # `cosign clean`, after which a reader has to see an image without a signature.
    assert client.call("DELETE", f"/manifests/{tag}").status == 202
    assert client.call("GET", f"/manifests/{tag}").code == "MANIFEST_UNKNOWN"


def test_cosign_signs_by_a_referrer(client) -> None:
    image = client.image("signed")
    client.push("v1", image)
    content = signature(client, described(image, types.OCI_MANIFEST))
    pushed = client.push(str(Digest.of(content)), content)
    assert pushed.headers["oci-subject"] == str(Digest.of(image))
    found = client.call("GET", f"/referrers/{Digest.of(image)}?artifactType={types.OCI_CONFIG}")
    assert [one["digest"] for one in found.json["manifests"]] == [str(Digest.of(content))]


def test_oras_attaches_and_deletes(client, registry) -> None:
    subject = client.image("subject")
    client.push("v1", subject)
    empty = put_at_once(client, b"{}", types.OCI_EMPTY, data="e30=")
    document = {
        "schemaVersion": 2,
        "mediaType": types.OCI_MANIFEST,
        "artifactType": "application/vnd.example.report",
        "config": empty,
        "layers": [put_at_once(client, b"report", "text/plain")],
        "subject": described(subject, types.OCI_MANIFEST),
        "annotations": {"org.opencontainers.image.created": "2026-01-01T00:00:00Z"},
    }
    content = json.dumps(document).encode()
    digest = Digest.of(content)
    assert client.push(str(digest), content).headers["oci-subject"] == str(Digest.of(subject))
    # Its token asks for an action that no repository here has, beside those that are needed.
    headers = registry.bearer(f"repository:{client.name}:delete,pull,push")
    path = f"/v2/{client.name}/manifests/{digest}"
    assert registry.call("DELETE", path, headers=headers).status == 202
    assert client.call("GET", f"/referrers/{Digest.of(subject)}").json["manifests"] == []


def test_containerd_names_the_source_and_resumes(client, registry) -> None:
    content = client.image("resumed")
    client.push("v1", content)
    ns = "?ns=docker.io"
    resolved = client.call("HEAD", f"/manifests/v1{ns}", Accept=f"{DOCKER_ACCEPTS}, */*")
    assert resolved.headers["docker-content-digest"] == str(Digest.of(content))
    layer = json.loads(content)["layers"][0]
    rest = client.call("GET", f"/blobs/{layer['digest']}{ns}", Range="bytes=5-")
    assert (rest.status, len(rest.body)) == (206, layer["size"] - 5)
    missing = client.call("GET", f"/manifests/nothing{ns}")
    assert (missing.status, missing.code) == (404, "MANIFEST_UNKNOWN")
    unknown = client.call("GET", f"/blobs/sha256:{'0' * 64}{ns}")
    assert b"docker.io" not in missing.body + unknown.body
    # It tries to get its token by a POST first, and goes on with a GET when that is refused.
    assert registry.call("POST", "/v2/auth", body="grant_type=password").status == 405


def test_kaniko_and_jib_mount_their_base(client, registry) -> None:
    base, built = client.name, f"{client.name}-built"
    layer = gzip.compress(b"base", mtime=0)
    digest = client.push_blob(layer)
    # One token for both repositories.
    pushing = Client(
        registry, built, scopes=[f"repository:{built}:pull,push", f"repository:{base}:pull"]
    )
    assert pushing.call("HEAD", f"/blobs/{digest}").status == 404
    mounted = pushing.call(
        "POST", f"/blobs/uploads/?mount={digest}&from={base}", Content_Length="0"
    )
    assert (mounted.status, mounted.headers["docker-content-digest"]) == (201, digest)
    assert pushing.call("HEAD", f"/blobs/{digest}").status == 200
    content = pushing.image("built")
    for tag in ("1", "latest"):
        assert pushing.push(tag, content).status == 201
    assert pushing.call("HEAD", "/manifests/latest").headers["content-length"] == str(len(content))


@pytest.mark.parametrize("form", ["{0} {1}", "{1} {0}", "{0} registry:catalog:* {1}"])
def test_scopes_of_one_parameter_are_separated_by_spaces(client, registry, form) -> None:
    other = f"{client.name}-2"
    digest = client.push_blob(b"shared")
    scopes = form.format(f"repository:{client.name}:pull", f"repository:{other}:pull,push")
    both = Client(registry, other, scopes=[scopes])
    mounting = f"/blobs/uploads/?mount={digest}&from={client.name}"
    assert both.call("POST", mounting).status == 201


def test_crane_lists_the_catalog(client, registry) -> None:
    client.push_blob(b"makes the repository")
    headers = registry.bearer("registry:catalog:*")
    listed = registry.call("GET", "/v2/_catalog?n=100", headers=headers)
    assert client.name in listed.json["repositories"]
    answer = registry.call("GET", f"/v2/{client.name}/tags/list", headers=headers)
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    "scope", ["garbage", "repository:admin/x", "repository:UPPER/x:pull", "a b"]
)
def test_scopes_that_cannot_be_read_are_refused(registry, scope) -> None:
    with pytest.raises(AssertionError, match=r"INVALID"):
        registry.bearer(scope)


@pytest.mark.parametrize(("count", "accepted"), [(100, True), (101, False)])
def test_a_token_has_so_many_scopes_and_no_more(registry, count, accepted) -> None:
    scopes = ["registry:catalog:*"] * count
    if accepted:
        assert registry.bearer(*scopes)
    else:
        with pytest.raises(AssertionError, match="more than 100 scopes"):
            registry.bearer(*scopes)


@pytest.mark.parametrize("name", ["UPPER/x", "admin/.x", "admin/x..y", "a" * 256, "admin//x"])
def test_end_8_a_name_that_cannot_be_answers_code_8(registry, name) -> None:
    nobody: dict[str, str] = {}
    for headers in (nobody, registry.bearer()):
        answer = registry.call("GET", f"/v2/{name}/tags/list", headers=headers)
        assert (answer.status, answer.code) == (400, "NAME_INVALID")


def test_many_push_the_same_manifest_at_once(client) -> None:
    content = client.image("same")
    digest = Digest.of(content)
    references = ["v1", str(digest)] * 8
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda one: client.push(one, content).status, references))
    assert statuses == [201] * len(references)
    assert client.call("GET", f"/manifests/{digest}").body == content
    assert client.call("GET", "/tags/list").json["tags"] == ["v1"]


def test_many_tags_are_pushed_at_once(client) -> None:
    contents = [client.image(f"number {number}") for number in range(4)]
    tags = {f"t{number:02}": contents[number % 4] for number in range(24)}
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda one: client.push(*one).status, tags.items()))
    assert statuses == [201] * len(tags)
    assert client.call("GET", "/tags/list").json["tags"] == sorted(tags)
    for tag, content in tags.items():
        assert client.call("GET", f"/manifests/{tag}").body == content


def test_one_tag_is_fought_for(client) -> None:
    contents = [client.image(f"rival {number}") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: client.push("v1", one), contents * 4))
    assert {answer.status for answer in answers} == {201}
    winner = client.call("GET", "/manifests/v1").body
    assert winner in contents
    assert client.call("GET", f"/manifests/{Digest.of(winner)}").body == winner
