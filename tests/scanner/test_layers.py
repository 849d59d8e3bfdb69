"""Reading one layer, and putting layers together."""

import pytest
from tests.scanner.images import ALPINE_RELEASE, DEBIAN_RELEASE, apk_installed, dpkg_status, layer

from hatoba.kernel.digests import Digest
from hatoba.scanner.indexer import apk, distribution, dpkg
from hatoba.scanner.indexer.coalesce import coalesce
from hatoba.scanner.indexer.layer import read_layer_blocking

STATUS = "var/lib/dpkg/status"


@pytest.fixture
def report(tmp_path):
    def make(*layers: dict[str, bytes]):
        read = []
        for number, files in enumerate(layers):
            path = tmp_path / str(number)
            path.write_bytes(layer(files))
            read.append((Digest.of(str(number).encode()), read_layer_blocking(path)))
        return coalesce(Digest.of(b"image"), read)

    return make


def names(index):
    return sorted(package.name for package in index.packages.values())


def test_a_removed_package_is_gone(report):
    lower = {STATUS: dpkg_status(("a", "1", ""), ("b", "1", ""))}
    assert names(report(lower, {STATUS: dpkg_status(("a", "1", ""))})) == ["a"]


def test_a_database_hidden_by_a_whiteout_is_gone(report):
    lower = {STATUS: dpkg_status(("a", "1", ""))}
    assert names(report(lower, {"var/lib/dpkg/.wh.status": b""})) == []
    assert names(report(lower, {"var/.wh.lib": b""})) == []
    assert names(report(lower, {"var/lib/.wh.dp": b""})) == ["a"]


def test_an_opaque_directory_hides_lower_layers_but_not_its_own(report):
    lower = {STATUS: dpkg_status(("a", "1", ""))}
    upper = {"var/lib/.wh..wh..opq": b"", STATUS: dpkg_status(("b", "1", ""))}
    assert names(report(lower, upper)) == ["b"]
    assert names(report(lower, {"var/lib/.wh..wh..opq": b""})) == []
    assert names(report(lower, {".wh..wh..opq": b""})) == []
    assert names(report(lower, {"var/lib/other/.wh..wh..opq": b""})) == ["a"]


def test_a_whiteout_does_not_hide_what_comes_later(report):
    lower = {STATUS: dpkg_status(("a", "1", ""))}
    assert names(report(lower, {"var/.wh.lib": b""}, lower)) == ["a"]


def test_distroless_layers_add_up(report):
    index = report(
        {
            "usr/lib/os-release": DEBIAN_RELEASE,
            "var/lib/dpkg/status.d/base": b"Package: base\nVersion: 1\n",
        },
        {
            "var/lib/dpkg/status.d/tzdata": b"Package: tzdata\nVersion: 2\n",
            "var/lib/dpkg/status.d/tzdata.md5sums": b"Package: no\nVersion: 1\n",
        },
    )
    assert names(index) == ["base", "tzdata"]
    assert {e[0].distribution_id for e in index.environments.values()} == {"1"}


def test_a_status_file_elsewhere_counts_only_beside_info(report):
    status = dpkg_status(("a", "1", ""))
    assert names(report({"opt/root/status": status})) == []
    assert names(report({"opt/root/status": status, "opt/root/info/a.list": b""})) == ["a"]


def test_the_distribution_is_the_nearest_from_below(report):
    newer = DEBIAN_RELEASE.replace(b"12", b"13").replace(b"bookworm", b"trixie")
    index = report(
        {"etc/os-release": DEBIAN_RELEASE},
        {STATUS: dpkg_status(("a", "1", ""))},
        {"etc/os-release": newer},
    )
    assert [found.version_id for found in index.distributions.values()] == ["12"]


def test_a_package_belongs_to_the_lowest_layer_that_has_it(report):
    same, other = ("a", "1", ""), ("b", "1", "")
    index = report({STATUS: dpkg_status(same)}, {STATUS: dpkg_status(same, other)})
    introduced = {
        index.packages[number].name: found[0].introduced_in
        for number, found in index.environments.items()
    }
    assert introduced == {"a": str(Digest.of(b"0")), "b": str(Digest.of(b"1"))}


def test_an_empty_layer_is_read(tmp_path):
    path = tmp_path / "layer"
    path.write_bytes(bytes(1024))
    assert read_layer_blocking(path).databases == []


def test_dpkg_reads_sources_and_leaves_out_what_is_not_installed():
    content = dpkg_status(("libc6", "2.36-9", "glibc"), ("x", "1:2+b1", "y (1:2)"))
    content += b"\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
    content += b"\nPackage: bad name\nVersion: 1\n"
    found = [
        (one.name, one.version, one.source.name, one.source.version) for one in dpkg.parse(content)
    ]
    assert found == [("libc6", "2.36-9", "glibc", "2.36-9"), ("x", "1:2+b1", "y", "1:2")]


def test_apk_reads_origins():
    [found] = apk.parse(apk_installed(("ssl_client", "1.36.1-r5", "busybox")))
    assert (found.name, found.source.name, found.version, found.arch) == (
        "ssl_client",
        "busybox",
        "1.36.1-r5",
        "x86_64",
    )


def test_os_release_is_read_with_its_quotes():
    found = distribution.parse(ALPINE_RELEASE)
    assert (found.did, found.version_id, found.pretty_name) == (
        "alpine",
        "3.18.4",
        "Alpine Linux v3.18",
    )


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"NAME='unclosed", b"# ID=debian"])
def test_os_release_without_an_id_is_no_distribution(content):
    assert distribution.parse(content) is None
