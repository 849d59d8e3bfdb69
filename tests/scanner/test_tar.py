"""Walking archives: ordinary ones of every writer, and hostile ones."""

import gzip
import io
import random
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scanner.images import tar

from hatoba.scanner.indexer.compression import opened_blocking
from hatoba.scanner.indexer.errors import LayerMalformed, LayerTooLarge
from hatoba.scanner.indexer.layer import read_layer_blocking
from hatoba.scanner.indexer.tar import Archive, normalise

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def walk(content):
    entries = Archive(io.BytesIO(content)).entries()
    return {entry.path: entry.read(limit=1 << 20) for entry in entries if entry.is_regular}


@pytest.mark.parametrize("form", FORMATS)
def test_archives_of_every_format_are_read(form):
    deep = "/".join(["directory" * 3] * 5) + "/" + "n" * 90
    files = {"a": b"", "b/c": b"x" * 512, deep: b"y" * 513, "ü": b"z"}
    assert walk(tar(files, form=form)) == files


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_longer_than_a_header_are_read(form):
    name = "d/" * 200 + "f" * 200
    assert walk(tar({name: b"1", "after": b"2"}, form=form)) == {name: b"1", "after": b"2"}


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5}){0,2}", fullmatch=True), st.binary(max_size=1500)
    )
)
def test_what_was_put_in_comes_out(files):
    assert walk(tar(files)) == files


def test_unread_content_is_skipped():
    content = tar({"large": bytes(100_000), "small": b"s"})
    paths = [entry.path for entry in Archive(io.BytesIO(content)).entries()]
    assert paths == ["large", "small"]


@pytest.mark.parametrize(
    ("given_path", "expected"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("./a/./b/../c/", "a/c"),
        ("..", ""),
    ],
)
def test_no_path_leaves_the_root(given_path, expected):
    assert normalise(given_path) == expected


@given(st.text(alphabet="./ab"))
def test_a_normal_path_has_no_special_parts(text):
    parts = normalise(text).split("/")
    assert not set(parts) & {".", ".."}


@given(st.binary(max_size=3000))
def test_arbitrary_bytes_are_read_or_refused(content):
    try:
        walk(content)
    except (LayerMalformed, LayerTooLarge):
        return


@given(st.integers(0, 2047), st.integers(0, 255))
def test_a_flipped_byte_is_read_or_refused(position, value):
    content = bytearray(tar({"a": b"x" * 100, "b": b"y" * 600}))
    content[position % len(content)] = value
    try:
        walk(bytes(content))
    except (LayerMalformed, LayerTooLarge):
        return


def test_a_cut_archive_is_refused():
    with pytest.raises(LayerMalformed):
        walk(tar({"a": bytes(2000)})[:1000])


def test_a_file_that_claims_to_be_huge_is_not_read_into_memory():
    info = tarfile.TarInfo("var/lib/dpkg/status")
    info.size = 1 << 40
    [entry] = _first(info.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(LayerTooLarge):
        entry.read(limit=1 << 20)


def _first(content):
    return [next(Archive(io.BytesIO(content)).entries())]


def test_an_extended_header_that_claims_to_be_huge_is_refused():
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 33
    with pytest.raises(LayerTooLarge):
        list(Archive(io.BytesIO(info.tobuf(tarfile.GNU_FORMAT))).entries())


@pytest.mark.parametrize(
    "record", [b"999 path=x\n", b"path=x\n", b"0 a=b\n", b"-9 path=x\n", b"10 path=xyz"]
)
def test_a_damaged_extended_header_is_refused(record):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(record)
    content = info.tobuf(tarfile.PAX_FORMAT) + record.ljust(512, b"\0")
    with pytest.raises(LayerMalformed):
        list(Archive(io.BytesIO(content)).entries())


def test_a_compression_bomb_is_given_up(tmp_path):
    path = tmp_path / "layer"
    path.write_bytes(gzip.compress(tar({"zeros": bytes(4 << 20)})))
    with opened_blocking(path, limit=1 << 20) as source, pytest.raises(LayerTooLarge):
        list(Archive(source).entries())


def test_a_damaged_gzip_stream_is_refused(tmp_path):
    path = tmp_path / "layer"
    content = bytearray(gzip.compress(tar({"a": random.Random(1).randbytes(9000)})))
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(LayerMalformed):
        read_layer_blocking(path)


def test_links_named_like_databases_are_not_followed(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            info = tarfile.TarInfo("var/lib/dpkg/status")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    path = tmp_path / "layer"
    path.write_bytes(out.getvalue())
    assert read_layer_blocking(path).databases == []
