"""Metadata: pairs in order, binary values, and what passes."""

import pytest

from blueprint_proxy.rpc.metadata import Metadata, passing

PAIRS = (("k", "1"), ("k", "2"), ("b-bin", b"\x00\xff"))


def test_pairs_keep_their_order_and_every_value():
    metadata = Metadata(PAIRS)
    assert metadata.pairs == PAIRS
    assert metadata.values("k") == ["1", "2"]
    assert list(metadata) == [(b"k", b"1"), (b"k", b"2"), (b"b-bin", b"\x00\xff")]
    assert metadata.get(b"k") == b"1"


def test_as_lines_binary_values_are_base64():
    assert Metadata(PAIRS).raw == b"k: 1\r\nk: 2\r\nb-bin: AP8=\r\n"


def test_a_field_of_bytes_can_be_added_as_a_credential_is():
    assert Metadata(PAIRS).plus((b"Authorization", b"Bearer x"), (b"t-bin", b"\1")).pairs == (
        *PAIRS,
        ("authorization", "Bearer x"),
        ("t-bin", b"\1"),
    )


def test_keys_can_be_taken_out():
    assert Metadata(PAIRS).without(frozenset({b"k"})).pairs == (("b-bin", b"\x00\xff"),)


@pytest.mark.parametrize(
    "pair",
    [
        ("te", "trailers"), ("content-type", "x"), ("user-agent", "x"), ("host", "x"), ("connection", "close"),
        ("grpc-timeout", "1S"), ("grpc-encoding", "gzip"), ("grpc-status", "0"), ("grpc-message", "x"),
        ("x-blueprint-run", "r"), ("x-blueprint-any-bin", b"x"), (":path", "/x"), ("X", "upper"), ("sp ace", "x"),
        ("k", "line\nbreak"), ("k", "h\xe4llo"), ("k-bin", "text"), ("k", b"bytes"),
    ],
)  # fmt: skip
def test_what_belongs_to_one_hop_to_us_or_cannot_be_sent_does_not_pass(pair):
    assert passing([("a", "1"), pair, ("a", "2")]) == (("a", "1"), ("a", "2"))


@pytest.mark.parametrize(
    "pair",
    [
        ("grpc-status-details-bin", b"\x00"), ("grpc-retry-pushback-ms", "5"), ("grpc-foo", "1"), ("traceparent", "x"),
        ("authorization", "Bearer x"), ("k", ""), ("k", " padded "), ("k-bin", b""), ("0_a-b.c", "~"), ("via", "2.0 x"),
    ],
)  # fmt: skip
def test_everything_else_passes(pair):
    assert passing([pair]) == (pair,)
