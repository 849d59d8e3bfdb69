"""Parsers that face the network: what they accept, and that nothing but a Status comes out."""

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatoba.cluster.api.bodies import MalformedJson, parse_json
from hatoba.cluster.api.continuation import Continuation, decode_token
from hatoba.cluster.api.negotiation import negotiate, wants_aggregated_discovery
from hatoba.cluster.api.paths import parse_path
from hatoba.cluster.api.protobuf import MAGIC, decode_protobuf
from hatoba.cluster.api.quantities import parse_quantity
from hatoba.cluster.api.status import BadRequest, NotAcceptable, StatusError

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def enveloped(kind, raw):
    """Wrap the bytes of an object as kubectl does; short ones only."""
    meta = b"\x0a\x02v1\x12" + bytes([len(kind)]) + kind
    return b"\x0a" + bytes([len(meta)]) + meta + b"\x12" + bytes([len(raw)]) + raw


@given(st.binary(max_size=200))
def test_any_bytes_as_protobuf_are_decoded_or_refused(data):
    with contextlib.suppress(StatusError):
        decode_protobuf(MAGIC + data)


@given(
    st.sampled_from([b"ConfigMap", b"Secret", b"Service", b"Namespace"]), st.binary(max_size=100)
)
def test_any_bytes_as_an_object_are_decoded_or_refused(kind, raw):
    with contextlib.suppress(StatusError):
        assert decode_protobuf(MAGIC + enveloped(kind, raw))["kind"] == kind.decode()


@given(
    st.integers(-1, 10**12),
    st.text(st.characters(codec="ascii", exclude_characters="/\0"), min_size=1),
)
def test_a_continue_token_survives_its_own_encoding(version, key):
    assert decode_token(Continuation(version, key).encode(first=True)) == Continuation(version, key)


@given(st.text(max_size=60))
def test_any_text_as_a_token_is_read_or_refused(text):
    with contextlib.suppress(BadRequest):
        decode_token(text)


@given(st.text(max_size=80))
def test_any_accept_header_is_understood_or_refused(header):
    wants_aggregated_discovery(header)
    with contextlib.suppress(NotAcceptable):
        negotiate(header)


@pytest.mark.parametrize(
    ("header", "form"),
    [
        (TABLE, "Table"),
        ("application/json", ""),
        ("*/*", ""),
        ("", ""),
        ("application/vnd.kubernetes.protobuf", ""),
    ],
)
def test_the_first_form_that_is_offered_is_chosen(header, form):
    assert negotiate(header).form == form


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("500m", "0.5"),
        ("2Gi", 2 * 1024**3),
        ("1k", 1000),
        ("1e3", 1000),
        ("0.1", "0.1"),
        ("100n", "1e-7"),
        ("3E", 3 * 10**18),
    ],
)
def test_quantities_are_numbers_with_suffixes(text, number):
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "abc", "1Q", "1 Gi", "--1", "1ee3"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(BadRequest, match="quantities must match"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/api/v1/namespaces", ("", "v1", "namespaces", None, "", "")),
        ("/api/v1/namespaces/a", ("", "v1", "namespaces", None, "a", "")),
        ("/api/v1/namespaces/a/finalize", ("", "v1", "namespaces", None, "a", "finalize")),
        ("/api/v1/namespaces/a/pods/p/log", ("", "v1", "pods", "a", "p", "log")),
        ("/apis/apps/v1/deployments", ("apps", "v1", "deployments", None, "", "")),
        (
            "/apis/apps/v1/watch/namespaces/a/deployments",
            ("apps", "v1", "deployments", "a", "", ""),
        ),
    ],
)
def test_paths_name_a_resource(path, parts):
    found = parse_path(path)
    assert found is not None
    assert (
        found.group,
        found.version,
        found.plural,
        found.namespace,
        found.name,
        found.subresource,
    ) == parts


def test_members_given_twice_are_named_by_their_path():
    body = parse_json(b'{"a": {"b": [1, {"c": 1, "c": 2}]}, "d": 1, "d": 1}')
    assert body.duplicates == ["d", "a.b[1].c"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "unexpected end of JSON input"),
        (b"{bad", "invalid character 'b' looking for beginning of object key string"),
    ],
)
def test_malformed_json_is_told_in_gos_words(data, words):
    with pytest.raises(MalformedJson, match=words):
        parse_json(data)
