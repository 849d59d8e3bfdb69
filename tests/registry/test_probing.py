"""Neighbours that a configuration names are asked, and their own words are told."""

import subprocess
import sys

import pytest
import yaml
from tests.object_storage import parameters
from tests.ports import free_port


def probed(directory, *parts, **config):
    """Run the command as the Job does; return its exit code and last line."""
    content = {
        "SECRET_KEY": "k" * 32,
        "DATABASE_SECRET_KEY": "k" * 32,
        "SERVER_HOSTNAME": "registry.example",
        "DB_URI": f"sqlite:///{directory}/database",
        "DISTRIBUTED_STORAGE_CONFIG": {"default": ["LocalStorage", {"storage_path": "blobs"}]},
        **config,
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(content))
    done = subprocess.run(
        [sys.executable, "-m", "hatoba.cli.main", "registry", "probe", *parts],
        env={"QUAYCONF": str(directory), "HATOBA_DATA": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, (done.stderr or done.stdout).strip().splitlines()[-1]


def test_neighbours_that_answer_are_well(tmp_path, object_storage):
    bucket = object_storage.new_bucket()
    storage = {"default": ["RadosGWStorage", parameters(object_storage, bucket)]}
    code, line = probed(tmp_path, "postgres", "objectstorage", DISTRIBUTED_STORAGE_CONFIG=storage)
    assert (code, line) == (0, "postgres, objectstorage: well")


def test_a_bucket_that_is_gone_is_named(tmp_path, object_storage):
    storage = {"default": ["RadosGWStorage", parameters(object_storage, "no-such-bucket")]}
    code, line = probed(tmp_path, "objectstorage", DISTRIBUTED_STORAGE_CONFIG=storage)
    assert code == 1
    assert line.startswith("objectstorage: ")
    assert "no-such-bucket" in line or "NoSuchBucket" in line


@pytest.mark.postgres
def test_a_database_that_is_not_there_is_told_in_its_words(tmp_path, postgres_server):
    url = f"{postgres_server.url.rsplit('/', 1)[0]}/nowhere"
    code, line = probed(tmp_path, "postgres", DB_URI=url)
    assert code == 1
    assert 'database "nowhere" does not exist' in line


def test_servers_that_do_not_answer_are_told_together(tmp_path):
    redis = {"host": "127.0.0.1", "port": free_port()}
    url = f"postgresql://quay:topsecret@127.0.0.1:{free_port()}/quay"
    code, line = probed(tmp_path, "postgres", "redis", DB_URI=url, USER_EVENTS_REDIS=redis)
    assert code == 1
    assert line.startswith("postgres: ")
    assert "; redis: " in line
    assert "topsecret" not in line
