# SPDX-License-Identifier: Apache-2.0
"""What make_xva.py and check_xva.py share: the checksums of the XVA format, in Python."""

import ctypes
import hashlib
import struct

P1, P2, P3, P4, P5 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
MASK = (1 << 64) - 1


def _rotate(value, bits):
    return (value << bits | value >> (64 - bits)) & MASK


def _round(lane, word):
    return _rotate((lane + word * P2) & MASK, 31) * P1 & MASK


def xxh64_plain(data, seed=0):
    """XXH64 written from its specification; slow."""
    at = 0
    if len(data) >= 32:
        lanes = [(seed + P1 + P2) & MASK, (seed + P2) & MASK, seed, (seed - P1) & MASK]
        while at + 32 <= len(data):
            words = struct.unpack_from("<4Q", data, at)
            lanes = [_round(lane, word) for lane, word in zip(lanes, words)]
            at += 32
        total = sum(_rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18))) & MASK
        for lane in lanes:
            total = ((total ^ _round(0, lane)) * P1 + P4) & MASK
    else:
        total = (seed + P5) & MASK
    total = (total + len(data)) & MASK
    while at + 8 <= len(data):
        total ^= _round(0, struct.unpack_from("<Q", data, at)[0])
        total = (_rotate(total, 27) * P1 + P4) & MASK
        at += 8
    if at + 4 <= len(data):
        total ^= struct.unpack_from("<I", data, at)[0] * P1 & MASK
        total = (_rotate(total, 23) * P2 + P3) & MASK
        at += 4
    for byte in data[at:]:
        total ^= byte * P5 & MASK
        total = _rotate(total, 11) * P1 & MASK
    total = (total ^ total >> 33) * P2 & MASK
    total = (total ^ total >> 29) * P3 & MASK
    return total ^ total >> 32


def _load_xxh64():
    """The system's library where there is one and it agrees with the plain version."""
    try:
        function = ctypes.CDLL("libxxhash.so.0").XXH64
    except (OSError, AttributeError):
        return xxh64_plain
    function.restype = ctypes.c_uint64
    function.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]

    def fast(data):
        return function(bytes(data), len(data), 0)

    for n in (0, 1, 31, 32, 100):
        sample = bytes(range(n))
        if fast(sample) != xxh64_plain(sample):
            raise SystemExit("libxxhash and the plain XXH64 disagree")
    return fast


xxh64 = _load_xxh64()

SUFFIXES = {"sha1": ".checksum", "xxhash": ".xxhash"}


def checksum_text(form, data):
    """The content of a checksum member."""
    if form == "sha1":
        return hashlib.sha1(data).hexdigest()
    return "%016X" % xxh64(data)
