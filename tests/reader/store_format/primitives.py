# SPDX-License-Identifier: Apache-2.0
"""What every part of the format uses: errors, MACs, numbers. Parentheses name sections of docs/FORMAT.md."""

import hashlib
import struct

BLOCK = 65536
PAGE = 4096
DATA, META = 1, 2
CHUNK, NODE, SAVESET, LOG_COPY = 1, 2, 3, 4


class ReaderError(Exception):
    """Ends the run with an exit code; as itself: failed."""
    code = 1


class NoStore(ReaderError):
    code = 10


class WrongKey(ReaderError):
    code = 12


class Damage(ReaderError):
    code = 13


def round_up(value, step):
    return -(-value // step) * step


def blake2b(*parts, key=b"", size=32):
    h = hashlib.blake2b(digest_size=size, key=key)
    for part in parts:
        h.update(part)
    return h.digest()


def mac(key, *parts):
    """(1)"""
    return blake2b(*(x for part in parts for x in (struct.pack("<Q", len(part)), part)), key=key)


def require(condition, message):
    if not condition:
        raise Damage(message)


def read_file(path):
    with open(path, "rb") as file:
        return file.read()
