#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The test vectors of docs/FORMAT.md are what the reader's functions give, and each stands in the document."""

import os
import re
import struct

import nacl.bindings
import nacl.public
import nacl.pwhash
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import parity
from harness import HERE, expect
from store_format.keys import Keys, parse_recovery_key, unwrap
from store_format.primitives import blake2b, mac

MASTER = bytes(range(32))
STORE = bytes.fromhex("00112233445566778899aabbccddeeff")
SALT = bytes(range(16))


def section():
    with open(os.path.join(HERE, "..", "..", "docs", "FORMAT.md"), encoding="utf-8") as file:
        return file.read().split("## 19. Test vectors")[1].split("## 20.")[0]


def rows():
    """The document's tables of vectors: {first cell: second cell without notes in parentheses}."""
    pairs = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", section(), re.MULTILINE)
    return {what: re.sub(r"\(.*?\) ", "", value) for what, value in pairs}


def vectors(keys):
    chunk = blake2b(b"\1" * 65536, key=keys.chunk_id)
    kek = blake2b(b"xenolith key file", SALT, b"k" * 32)
    ad = STORE + b"\2" + SALT + bytes(16)
    slot = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(MASTER, ad, bytes(24), kek)
    expect(unwrap(kek, bytes(24) + slot, ad) == MASTER, "the slot does not open")
    yield "key 1, chunk IDs", keys.chunk_id
    yield "key 2, node IDs", keys.node_id
    yield "key 3, authentication", keys.auth
    yield "key 4, metadata wrap", keys.meta_wrap
    yield "key 5, data wrap", keys.data_wrap
    yield "MAC under key 3 of the parts `a`, `bc`", mac(keys.auth, b"a", b"bc")
    yield "ID of a chunk of 65,536 bytes 01", chunk
    leaf = bytes(8) + b"\1" + bytes(15) + chunk
    yield "ID of a leaf that has that chunk in slot 0 alone", blake2b(leaf, key=keys.node_id)
    yield "key-encryption key: key file of 32 bytes `k`, salt 000102\u20260f", kek
    yield ("the same: passphrase `correct horse`, that salt, 1 pass, 8,192 bytes",
           nacl.pwhash.argon2id.kdf(32, b"correct horse", SALT, opslimit=1, memlimit=8192))
    yield "`master` of that key file's slot, nonce of zeroes", slot
    key, origin, identity = b"\x42" * 32, bytes(range(0xA0, 0xB0)), blake2b(b"plain", key=keys.node_id)
    ad = origin + struct.pack("<IIIBBH", 7, 5, 21, 3, 0, 0) + identity
    yield "commitment", mac(key, b"commitment", origin)
    yield "ID, under key 2", identity
    yield "stored, cipher 1", AESGCM(key).encrypt(struct.pack("<QI", 7, 0), b"plain", ad)
    yield "stored, cipher 2", nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        b"plain", ad, struct.pack("<QQQ", 7, 0, 0), key)
    yield "public", nacl.public.PrivateKey(bytes(range(32, 64))).public_key.encode()


def main():
    keys = Keys.__new__(Keys)
    keys.derive(MASTER)
    document = rows()
    for what, value in vectors(keys):
        written = document.get(what)
        expect(written == value.hex(), "'%s' is %s, the document has %s" % (what, value.hex(), written))
    words = "\n".join("%d: %s" % (n, document["line %d" % n]) for n in range(1, 5))
    for text in (words, words.upper().replace(" ", " - "), "xenolith-recovery:1:00112233-4455-6677-8899-aabbccddeeff:" +
                 bytes(range(32, 64)).hex()):
        expect(parse_recovery_key(text.encode(), STORE) == bytes(range(32, 64)), "the recovery key reads otherwise")
    expect(parity.crc32c(b"123456789") == 0xE3069283, "CRC-32C")
    for row in range(4):
        factors = " | ".join("%02x" % parity.coefficient(row, column) for column in (0, 1, 2, 63))
        expect("| %d | %s |" % (row, factors) in section(), "the document lacks parity row %s" % factors)


main()
