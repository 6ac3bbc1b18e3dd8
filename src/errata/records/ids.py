"""Ids and seeds are hashes over named coordinates: never sums, never order.

`seed + i` gives neighbouring seeds the same samples, and a counter makes a row depend on what ran before it. A hash of
the coordinates (run seed, problem, stage, branch, k) gives the same row alone or in a batch, first or after a crash.
"""

import hashlib
import json
from typing import Any

import msgspec

_FAST = msgspec.json.Encoder(order="deterministic")
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces; equal values give equal text. Floats must be finite."""
    return _ENCODER.encode(value)


def encode(value: Any) -> bytes:
    """JSON of text, integers, lists, mappings and records, keys sorted: what `canonical` says, in a tenth of the time.

    Text is UTF-8, and half surrogates, which UTF-8 cannot hold, are escaped.
    """
    try:
        return _FAST.encode(value)
    except UnicodeEncodeError:
        return canonical(msgspec.to_builtins(value)).encode()


def digest(**coordinates: Any) -> str:
    """A 128-bit id as 32 hexadecimal digits, of text, integers and lists of them."""
    return hashlib.sha256(encode(coordinates)).hexdigest()[:32]


def seed(**coordinates: Any) -> int:
    """A seed of 63 bits, which every engine's signed integer can hold."""
    return int.from_bytes(hashlib.sha256(encode(coordinates)).digest()[:8], "big") >> 1
