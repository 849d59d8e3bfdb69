import hashlib
import ssl
import subprocess

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.peers import docker_registry
from tests.walkthrough.images import Layout, random_files

from hatoba.kernel.digests import Digest
from hatoba.net.registry.authentication import Credentials, parse_challenge
from hatoba.net.registry.client import RemoteRegistry
from hatoba.net.registry.errors import (
    ReferenceMalformed,
    RegistryRefused,
    RegistryUnreachable,
    RemoteUnknown,
)
from hatoba.net.registry.reference import RemoteRepository

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    with docker_registry(tmp_path_factory.mktemp("peer")) as peer:
        yield peer


@pytest.fixture(scope="module")
def image(peer, tmp_path_factory):
    """An image at the peer: its layout and descriptor."""
    layout = Layout(tmp_path_factory.mktemp("image") / "layout")
    descriptor = layout.image([random_files(1), random_files(2)])
    source = layout.tag("1.0", descriptor)
    for tag in ("1.0", "2.0"):
        subprocess.run(
            ["skopeo", "copy", "-q", "--dest-tls-verify=false",
             f"--dest-creds={peer.username}:{peer.password}",
             source, f"docker://{peer.host}/team/app:{tag}"],
            check=True, timeout=60,
        )  # fmt: skip
    return layout, descriptor


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session


def remote(session, peer, path="team/app", *, password=None, **options):
    credentials = Credentials(username=peer.username, password=password or peer.password)
    options = {"verify_tls": False, **options}
    where = RemoteRepository.parse(f"{peer.host}/{path}")
    return RemoteRegistry(session, where, credentials=credentials, pause=lambda _: 0, **options)


@pytest.mark.clients
class TestAgainstDockerRegistry:
    async def test_tags_are_listed(self, session, peer, image):
        assert sorted(await remote(session, peer).list_tags()) == ["1.0", "2.0"]

    async def test_a_manifest_comes_byte_for_byte(self, session, peer, image):
        layout, descriptor = image
        manifest = await remote(session, peer).manifest("1.0")
        kept = layout.directory / "blobs/sha256" / descriptor["digest"][7:]
        assert manifest.content == kept.read_bytes()
        assert str(manifest.digest) == descriptor["digest"]
        assert manifest.media_type == descriptor["mediaType"]

    async def test_a_blob_is_streamed(self, session, peer, image):
        layout, _ = image
        name = max(
            (layout.directory / "blobs/sha256").iterdir(), key=lambda p: p.stat().st_size
        ).name
        hasher = hashlib.sha256()
        async with remote(session, peer).blob(Digest("sha256", name)) as chunks:
            async for chunk in chunks:
                hasher.update(chunk)
        assert hasher.hexdigest() == name

    async def test_wrong_credentials_are_refused(self, session, peer, image):
        with pytest.raises(RegistryRefused):
            await remote(session, peer, password="wrong").list_tags()

    async def test_an_unknown_repository_is_unknown(self, session, peer, image):
        with pytest.raises(RemoteUnknown):
            await remote(session, peer, "team/absent").list_tags()

    async def test_an_untrusted_certificate_is_not_spoken_to(self, session, peer, image):
        with pytest.raises(RegistryUnreachable, match="certificate"):
            await remote(session, peer, verify_tls=True).list_tags()

    async def test_a_trusted_certificate_is(self, peer, image):
        trust = ssl.create_default_context(cafile=str(peer.certificate))
        connector = aiohttp.TCPConnector(ssl=trust)
        async with aiohttp.ClientSession(connector=connector) as session:
            assert await remote(session, peer, verify_tls=True).list_tags()


async def test_nobody_listening_is_unreachable(session):
    where = RemoteRepository.parse("localhost:1/team/app")
    with pytest.raises(RegistryUnreachable, match="cannot be reached"):
        await RemoteRegistry(session, where, pause=lambda _: 0).list_tags()


@pytest.mark.parametrize(
    ("text", "authority", "repository"),
    [
        ("docker.io/busybox", "registry-1.docker.io", "library/busybox"),
        ("docker.io/team/app", "registry-1.docker.io", "team/app"),
        ("localhost:5000/a/b/c", "localhost:5000", "a/b/c"),
        ("[::1]:5000/a", "[::1]:5000", "a"),
    ],
)
def test_a_reference_names_host_and_repository(text, authority, repository):
    parsed = RemoteRepository.parse(text)
    assert (parsed.authority, parsed.repository, str(parsed)) == (authority, repository, text)


@pytest.mark.parametrize(
    "text",
    ["", "busybox", "https://quay.io/a/b", "quay.io/", "quay.io/A", "a b/c", "quay.io/a:1", "/a"],
)
def test_a_malformed_reference_is_refused(text):
    with pytest.raises(ReferenceMalformed):
        RemoteRepository.parse(text)


def test_a_bearer_challenge_is_read():
    header = 'Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push"'
    challenge = parse_challenge(header)
    assert challenge is not None
    assert challenge.scheme == "bearer"
    assert challenge.parameters == {
        "realm": "https://auth.example/token",
        "service": "registry",
        "scope": "repository:a/b:pull,push",
    }


@given(st.text(max_size=300))
def test_no_challenge_breaks_the_parser(text):
    parse_challenge(text)
