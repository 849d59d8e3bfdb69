"""A database and storage that Quay left behind go on under our registry: pulls and pushes."""

import gzip
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml
from tests.blackbox.conftest import on_postgresql
from tests.blackbox.test_protocol import Client
from tests.postgresql import program

from hatoba.kernel.digests import Digest

pytestmark = [pytest.mark.recorded, pytest.mark.postgres, pytest.mark.timeout(180)]
QUAY = Path(__file__).parents[3] / "shared/data/quay"


@pytest.fixture(scope="module")
def expectations():
    path = QUAY / "expectations.json.gz"
    if not path.exists():
        pytest.skip(f"no recorded Quay at {QUAY}")
    return json.loads(gzip.decompress(path.read_bytes()))


@pytest.fixture(scope="module")
def registry(expectations, postgres_server, tmp_path_factory):
    psql = program("psql")
    assert psql is not None
    directory = tmp_path_factory.mktemp("adopted")
    with tarfile.open(QUAY / "storage.tar.gz") as archive:
        archive.extractall(directory / "storage", filter="data")
    root = next((directory / "storage").rglob("sha256")).parent
    keys = yaml.safe_load((QUAY / "config.yaml").read_text())
    with postgres_server.database() as url:
        dump = gzip.decompress((QUAY / "quayfix_a.sql.gz").read_bytes())
        command = [psql, "-q", "-v", "ON_ERROR_STOP=1", url]
        subprocess.run(command, input=dump, check=True, capture_output=True, timeout=60)
        config = {name: keys[name] for name in ("SECRET_KEY", "DATABASE_SECRET_KEY", "SUPER_USERS")}
        config["DISTRIBUTED_STORAGE_CONFIG"] = {
            "default": ["LocalStorage", {"storage_path": str(root)}]
        }
        # The dump grows old: its begun upload would be cleaned away at some time of the test.
        config["UPLOAD_LIFETIME"] = "5200w"
        with on_postgresql(directory, url, adopted=True, **config) as running:
            accounts = expectations["users"].items()
            running.users |= {name: user["password"] for name, user in accounts}
            running.users |= expectations["robots"]
            yield running


def reader_of(repository: str) -> str:
    namespace = repository.partition("/")[0]
    return namespace if namespace in {"alice", "bob", "dave"} else "quayadmin"


def open_client(registry, repository, *actions) -> Client:
    client = Client.__new__(Client)
    client.registry, client.name = registry, repository
    scope = f"repository:{repository}:{','.join(actions)}"
    client.headers = registry.bearer(scope, user=reader_of(repository))
    return client


def test_every_living_tag_names_its_digest_and_its_blobs_are_whole(registry, expectations) -> None:
    damaged = {one["digest"] for one in expectations["corrupt_in_storage"]}
    ending = {
        (tag["repo"], tag["tag"])
        for tag in expectations["tags"]
        if tag["lifetime_end_ms"] is not None
    }
    checked, unreadable = 0, []
    for repository, tags in expectations["alive_tags"].items():
        client = open_client(registry, repository, "pull")
        for tag, digest in tags.items():
            if (repository, tag) in ending:
                continue
            answer = client.call("GET", f"/manifests/{tag}")
            if answer.status == 401:
                unreadable.append(repository)
                continue
            assert answer.status == 200, (repository, tag, answer.body)
            assert str(Digest.of(answer.body)) == digest == answer.headers["docker-content-digest"]
            manifest = json.loads(answer.body)
            for blob in [*manifest.get("layers", []), *filter(None, [manifest.get("config")])]:
                if blob["digest"] not in damaged:
                    content = client.call("GET", f"/blobs/{blob['digest']}")
                    assert str(Digest.of(content.body)) == blob["digest"], (repository, tag)
                    checked += 1
    assert checked > 50
    assert len(set(unreadable)) <= 2, unreadable


def test_robots_of_the_adopted_registry_pull(registry) -> None:
    headers = registry.bearer("repository:testorg/app:pull", user="testorg+ci")
    assert registry.call("GET", "/v2/testorg/app/manifests/v1", headers=headers).status == 200


def test_a_deleted_tag_is_known_as_deleted(registry) -> None:
    client = open_client(registry, "testorg/app", "pull")
    assert client.call("GET", "/manifests/v2").code == "MANIFEST_UNKNOWN"


def test_an_upload_of_the_other_implementation_is_not_continued_blindly(
    registry, expectations
) -> None:
    """Its hash state is foreign: the bytes are read again, and the digest decides."""
    upload = expectations["open_upload"]
    client = open_client(registry, upload["repo"], "pull", "push")
    path = f"/blobs/uploads/{upload['uuid']}"
    wrong = str(Digest.of(b"something else"))
    assert client.call("GET", path).status == 204
    assert client.call("PUT", f"{path}?digest={wrong}").code == "DIGEST_INVALID"


def test_pushing_goes_on(registry) -> None:
    client = open_client(registry, "testorg/app", "pull", "push")
    content = client.image("pushed after the adoption")
    assert client.push("v1", content).code == "DENIED"
    assert client.push("after", content).status == 201
    assert client.call("GET", "/manifests/after").body == content
