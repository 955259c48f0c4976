import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.upstreams.geniesim.wire import NotProtobuf, fields


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


numbers = st.integers(1, 2**29 - 1)
entries = st.one_of(
    st.tuples(numbers, st.integers(0, 2**64 - 1)).map(lambda f: (f, varint(f[0] << 3) + varint(f[1]))),
    st.tuples(numbers, st.binary(max_size=300)).map(lambda f: (f, varint(f[0] << 3 | 2) + varint(len(f[1])) + f[1])),
    st.tuples(numbers, st.binary(min_size=8, max_size=8)).map(lambda f: (f, varint(f[0] << 3 | 1) + f[1])),
    st.tuples(numbers, st.binary(min_size=4, max_size=4)).map(lambda f: (f, varint(f[0] << 3 | 5) + f[1])),
)


@given(st.lists(entries, max_size=8))
def test_every_field_that_was_written_is_read_in_order(written):
    assert list(fields(b"".join(wire for _, wire in written))) == [field for field, _ in written]


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(message):
    with contextlib.suppress(NotProtobuf):
        list(fields(message))


@pytest.mark.parametrize(
    "message", [b"\x40", b"\x40\x80", b"\x0a\x05abc", b"\x00\x01", b"\x0b", b"\x0d\x01", b"\x40" + b"\x80" * 11]
)
def test_what_is_cut_short_or_no_field_is_not_protobuf(message):
    with pytest.raises(NotProtobuf):
        list(fields(message))
