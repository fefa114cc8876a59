# SPDX-License-Identifier: Apache-2.0
"""Segments (5) and their records (7)."""

import hmac
import os
import struct
from collections import namedtuple

import nacl.bindings
import nacl.exceptions
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .keys import unseal, unwrap
from .primitives import (BLOCK, CHUNK, DATA, LOG_COPY, META, PAGE, Damage, ReaderError, WrongKey, blake2b, mac, require,
                         round_up)

Entry = namedtuple("Entry", "id offset stored raw ordinal key_slot kind codec xxh3")
KeySlot = namedtuple("KeySlot", "origin cipher key")
Trailer = namedtuple("Trailer", "version header_length id store_id number kind stripes records column data_end covered "
                     "stored raw time directory_digest crc_digest")


class Segment:
    def __init__(self, store, info):
        self.keys, self.info = store.keys, info
        self.name = "segments/%s/%010x.seg" % ("data" if info.kind == DATA else "meta", info.number)
        self.notices = []
        try:
            self.file = open(os.path.join(store.path, self.name), "rb")
        except OSError as error:
            raise Damage("segment '%s': %s" % (self.name, error.strerror)) from None
        try:
            self.trailer = self.read_trailer()
            self.read_header()
            self.entries = self.read_directory()
        except Damage as error:
            raise Damage("segment '%s': %s" % (self.name, error)) from None

    def read(self, offset, length):
        self.file.seek(offset)
        data = self.file.read(length)
        require(len(data) == length, "the file ends early")
        return data

    def page(self, offset, label):
        """The footer head or trailer at an offset (5.5)."""
        page = self.read(offset, PAGE)
        require(page[:8] == label and hmac.compare_digest(mac(self.keys.auth, page[:-32]), page[-32:]), "no trailer")
        trailer = Trailer(*struct.unpack_from("<II16s16sQIIIIQQQQQ32s32s", page, 8))
        if trailer.version != 1:
            raise ReaderError("segment '%s' is newer than this reader" % self.name)
        require(not any(page[176:-32]) and 1 <= trailer.records <= 16384 and
                trailer.covered == trailer.data_end + PAGE + round_up(64 * trailer.records, PAGE), "malformed trailer")
        require((trailer.id, trailer.store_id, trailer.number, trailer.kind) ==
                (self.info.id, self.keys.store_id, self.info.number, self.info.kind), "it is another segment")
        return trailer, page[-32:]

    def read_trailer(self):
        try:
            trailer, seal = self.page(self.info.file_length - PAGE, b"XLTRAILR")
            require(seal == self.info.mac, "not the trailer that the log knows")
            return trailer
        except Damage:
            self.notices.append("the trailer is damaged")
        size = os.fstat(self.file.fileno()).st_size
        for at in range(0, size - PAGE + 1, PAGE):
            self.file.seek(at)
            if self.file.read(8) == b"XLFOOTER":
                try:
                    trailer, _ = self.page(at, b"XLFOOTER")
                except Damage:
                    continue
                if trailer.data_end == at:
                    return trailer
        raise Damage("neither trailer nor footer is whole")

    def header_copy(self):
        t = self.trailer
        table = round_up(4 * ((t.covered + 4 * t.column) // PAGE), PAGE)
        return t.covered + 2 * table + 4 * t.column

    def read_header(self):
        try:
            self.parse_header(self.read(0, self.trailer.header_length))
        except Damage:
            self.notices.append("the header is damaged")
            self.parse_header(self.read(self.header_copy(), self.trailer.header_length))

    def parse_header(self, data):
        """(5.1, 5.2)"""
        require(data[:8] == b"XLSEGMNT", "no header")
        require(hmac.compare_digest(mac(self.keys.auth, data[:-32]), data[-32:]), "no whole header")
        version, length, self.id, store_id, number, kind, slots, zero = struct.unpack_from("<II16s16sQIHH", data, 8)
        if version != 1:
            raise ReaderError("segment '%s' is newer than this reader" % self.name)
        require((length, self.id, store_id, number, kind, zero) ==
                (len(data), self.trailer.id, self.keys.store_id, self.info.number, self.info.kind, 0) and
                1 <= slots <= 256 and length == round_up(256 + 208 * slots + 32, PAGE) and not any(data[184:256]) and
                not any(data[256 + 208 * slots:-32]), "malformed header")
        self.key_slots = [self.key_slot(data[256 + 208 * i:464 + 208 * i]) for i in range(slots)]

    def key_slot(self, data):
        origin, cipher, has_wrapped, zero, commitment, wrapped, sealed = struct.unpack("<16sBB6s32s72s80s", data)
        require(has_wrapped <= 1 and not any(zero), "malformed key slot")
        key = None
        if has_wrapped:
            key = unwrap(self.keys.meta_wrap if self.info.kind == META else self.keys.data_wrap, wrapped, origin)
        if key is None and self.keys.recovery_secret:
            key = unseal(self.keys.recovery_secret, sealed)
        require(key is None or hmac.compare_digest(mac(key, b"commitment", origin), commitment),
                "a key does not fit its commitment")
        return KeySlot(origin, cipher, key)

    def entry(self, data, first, end):
        """A directory entry (5.4) of a record within [first, end)."""
        *fields, zero, xxh3 = struct.unpack("<32sIIIIHBB4sQ", data)
        e = Entry(*fields, xxh3)
        require(not any(zero) and CHUNK <= e.kind <= LOG_COPY and e.codec <= 1 and e.key_slot < len(self.key_slots),
                "malformed directory")
        require(first <= e.offset and e.offset + e.stored <= end and e.stored >= 17 and
                1 <= e.raw <= (BLOCK if e.kind == CHUNK else 1 << 20) and
                (e.stored == e.raw + 16 if e.codec == 0 else e.stored < e.raw + 16), "malformed directory")
        return e

    def read_directory(self):
        t = self.trailer
        try:
            data = self.read(t.data_end + PAGE, 64 * t.records)
            require(blake2b(data) == t.directory_digest, "the directory copy is damaged")
            return [self.entry(data[i:i + 64], t.header_length, t.data_end) for i in range(0, len(data), 64)]
        except Damage:
            self.notices.append("the directory copy is damaged")
        entries = self.stripe_entries()
        require(len(entries) == t.records, "the directory copy is damaged, and stripes are too")
        return entries

    def stripe_entries(self):
        """The directories of the stripes from the front (5.3)."""
        at, entries = self.trailer.header_length, []
        for index in range(self.trailer.stripes):
            head = self.read(at, 128)
            segment_id, number, slot, count, length, directory, zero, seal = struct.unpack("<8x16sIIIII52s32s", head)
            if head[:8] != b"XLSTRIPE" or at + length > self.trailer.data_end:
                break
            lines = self.read(at + directory, 64 * count)
            if not hmac.compare_digest(mac(self.keys.auth, head[:96], lines), seal):
                break
            require((segment_id, number, slot) == (self.id, index, len(entries)) and not any(zero), "malformed stripe")
            entries += [self.entry(lines[i:i + 64], at + 128, at + directory) for i in range(0, len(lines), 64)]
            at += length
        return entries

    def open_record(self, e):
        """The plain bytes of a record (7), without a look at its ID."""
        slot = self.key_slots[e.key_slot]
        if slot.key is None:
            raise WrongKey("segment '%s' opens with the recovery key only: the store is sealed" % self.name)
        ad = slot.origin + struct.pack("<IIIBBH", e.ordinal, e.raw, e.stored, e.kind, e.codec, 0) + e.id
        stored = self.read(e.offset, e.stored)
        where = "segment '%s': the record at %d " % (self.name, e.offset)
        try:
            if slot.cipher == 1:
                plain = AESGCM(slot.key).decrypt(struct.pack("<QI", e.ordinal, 0), stored, ad)
            elif slot.cipher == 2:
                nonce = struct.pack("<QQQ", e.ordinal, 0, 0)
                plain = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(stored, ad, nonce, slot.key)
            else:
                raise ReaderError("segment '%s' uses unknown cipher %d" % (self.name, slot.cipher))
            if e.codec == 1:
                require(zstandard.frame_content_size(plain) in (e.raw, -1), where + "does not decompress")
                plain = zstandard.ZstdDecompressor().decompress(plain, max_output_size=e.raw)
        except (InvalidTag, nacl.exceptions.CryptoError):
            raise Damage(where + "is damaged") from None
        except zstandard.ZstdError:
            raise Damage(where + "does not decompress") from None
        require(len(plain) == e.raw, where + "does not decompress")
        return plain

    def check(self):
        """Whatever is damaged although something else served for it."""
        yield from self.notices
        t = self.trailer
        for what, check in (
                ("header copy", lambda: self.parse_header(self.read(self.header_copy(), t.header_length))),
                ("footer head", lambda: self.page(t.data_end, b"XLFOOTER")),
                ("directory of a stripe", lambda: require(self.stripe_entries() == self.entries, "they differ"))):
            try:
                check()
            except Damage:
                yield "the %s is damaged" % what
