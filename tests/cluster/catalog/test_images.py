"""The catalog: names of images, and what they stand for."""

import sys

import pytest

from hatoba.cluster.catalog.images import (
    Catalog,
    ImageNameInvalid,
    ImageUnknown,
    Situation,
    full_name,
    read_entries,
)
from hatoba.cluster.catalog.programs import find_program, standard_catalog
from hatoba.cluster.catalog.redis import configuration
from hatoba.kernel.errors import InvalidInput


@pytest.mark.parametrize(
    "reference", ["hatoba", "hatoba:0.1.0", "quay.io/hatoba/hatoba:1", "127.0.0.1:5000/x/hatoba"]
)
def test_our_image_runs_our_command(reference, tmp_path):
    image = standard_catalog().find(reference)
    situation = Situation(root=tmp_path, address="127.9.0.2")
    assert image.entrypoint(situation) == [sys.executable, "-m", "hatoba.cli.main"]
    assert image.variables(situation)["HATOBA_BIND"] == "127.9.0.2"


@pytest.mark.parametrize("reference", ["example.com/other:1", "hatoba-fake:1", "busybox"])
def test_other_images_are_unknown(reference):
    with pytest.raises(ImageUnknown, match="not found in the catalog"):
        standard_catalog().find(reference)


def test_a_malformed_name_is_refused():
    with pytest.raises(ImageNameInvalid, match="must be lowercase"):
        Catalog().find("Not A Image")


def test_the_tag_is_latest_by_default():
    assert full_name("quay.io/a/b") == "quay.io/a/b:latest"
    assert full_name("localhost:5000/b:2@sha256:" + "a" * 64) == "localhost:5000/b:2"


def test_a_missing_server_names_its_package():
    with pytest.raises(ImageUnknown, match="install the package some-package"):
        find_program("no-such-server", package="some-package")


def test_a_home_may_add_images(tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text("- {image: 'x/tiny:*', command: [sleep], args: ['9'], env: {A: '1'}}\n")
    image = standard_catalog(path).find("x/tiny:3")
    situation = Situation(root=tmp_path, address="127.9.0.2")
    assert [*image.entrypoint(situation), *image.arguments] == ["sleep", "9"]
    assert image.variables(situation) == {"A": "1"}


def test_a_home_may_add_another_version_of_an_image(tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text("- {image: 'next:*', like: 'hatoba:1', command: [next], env: {A: '1'}}\n")
    situation = Situation(root=tmp_path, address="127.9.0.2")
    ours, other = standard_catalog(path).find("hatoba:1"), standard_catalog(path).find("next:2")
    assert [*other.entrypoint(situation), *other.arguments] == ["next"]
    assert other.variables(situation) == {**ours.variables(situation), "A": "1"}
    assert (other.user, other.quick_signal) == (ours.user, ours.quick_signal)
    path.write_text("- {image: 'next:*', like: absent}\n")
    with pytest.raises(ImageUnknown, match="absent"):
        standard_catalog(path).find("next:2")


@pytest.mark.parametrize("name", ["sclorg/postgresql-13-c9s", "sclorg/redis-7-c9s"])
def test_a_home_may_run_another_version_of_a_server(name, tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text(f"- {{image: '*{name}:*', like: {name}, program: /older/bin/server}}\n")
    situation = Situation(root=tmp_path, address="127.9.0.2")
    ours, other = standard_catalog().find(name), standard_catalog(path).find(f"quay.io/{name}:1")
    words = [*other.entrypoint(situation)]
    assert words.pop(words.index("--program") + 1) == "/older/bin/server"
    known = [*ours.entrypoint(situation)]
    del known[known.index("--program") + 1]
    assert words == known
    assert (other.user, other.stop_signal) == (ours.user, ours.stop_signal)
    if "PATH" in (variables := other.variables(situation)):
        # What is not beside the older server, such as pg_isready, is found beside this machine's.
        places = ours.variables(situation)["PATH"]
        assert variables["PATH"] == f"/older/bin:{places}"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "- {image: a, program: b}",
        "- {image: a, like: 1}",
        "- {command: [a]}",
        "- [",
        "just text",
    ],
)
def test_a_malformed_catalog_is_refused(text, tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput):
        read_entries(path)


def test_redis_gets_its_password_quoted(tmp_path):
    text = configuration(address="127.9.0.2", directory=tmp_path, password='a"b\\', is_kept=False)
    assert 'requirepass "a\\"b\\\\"' in text.splitlines()
    assert "bind 127.9.0.2" in text.splitlines()
