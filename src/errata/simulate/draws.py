"""Random numbers that are pure functions of what they are drawn for: no order of events can change one."""

import hashlib


def uniform(seed: int, purpose: bytes, value: bytes) -> float:
    """A number above 0 and below 1, the same for the same arguments on any machine."""
    drawn = hashlib.blake2b(value, digest_size=8, key=b"%d" % seed, person=purpose).digest()
    # 52 bits and a half: every such number is a double, and neither 0 nor 1 is among them.
    return ((int.from_bytes(drawn, "big") >> 12) + 0.5) / 2**52
