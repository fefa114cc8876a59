# SPDX-License-Identifier: Apache-2.0
"""A store as a whole: records by ID, disk maps (8), savesets (9)."""

import json
import re
import uuid

from .keys import Keys, read_config
from .log import read_log
from .primitives import BLOCK, CHUNK, NODE, SAVESET, Damage, ReaderError, blake2b, require
from .segment import Segment


def bits_of(bitmap):
    return [i for i in range(128) if bitmap[i // 8] >> (i % 8) & 1]


def parse_node(payload):
    """(level or None, base or None, present slots, {slot: ID})"""
    require(payload[:1] in (b"\1", b"\2"), "a map node has an unknown form")
    if payload[0] == 1:
        require(len(payload) >= 25 and payload[1] <= 5 and not any(payload[2:9]), "a map node is malformed")
        present = bits_of(payload[9:25])
        require(present and len(payload) == 25 + 32 * len(present), "a map node is malformed")
        return payload[1], None, present, {slot: payload[25 + 32 * i:57 + 32 * i] for i, slot in enumerate(present)}
    require(len(payload) >= 50, "a map delta is malformed")
    present, count = bits_of(payload[33:49]), payload[49]
    slots = [payload[50 + 33 * i] for i in range(count)] if len(payload) == 50 + 33 * count else None
    require(slots is not None and count <= 32 and 50 + 33 * count < 25 + 32 * len(present), "a map delta is malformed")
    require(slots == sorted(set(slots)) and set(slots) <= set(present), "a map delta is malformed")
    return None, payload[1:33], present, {slot: payload[51 + 33 * i:83 + 33 * i] for i, slot in enumerate(slots)}


class Store:
    def __init__(self, path, kind, secret, tell):
        self.path, self.tell, self.damaged = path, tell, False
        self.config = read_config(path)
        self.keys = Keys(path, self.config, kind, secret)
        self.log = read_log(path, self.keys, tell)
        if self.log.lost_until > self.log.sequence:
            self.damage("both copies of the log are damaged: entries %d to %d are lost, the store is as before" %
                        (self.log.sequence + 1, self.log.lost_until))
        self.segments, self.records = [], {}
        for number in sorted(self.log.segments):
            try:
                segment = Segment(self, self.log.segments[number])
            except Damage as error:
                self.damage(str(error))
                continue
            self.segments.append(segment)
            for entry in segment.entries:
                self.records.setdefault(entry.id, []).append((segment, entry))

    def damage(self, text):
        self.damaged = True
        self.tell("damage: " + text)

    def open_checked(self, segment, entry):
        """A record's plain bytes, which hash to its ID. A node's ID is of what load_node makes of it."""
        plain = segment.open_record(entry)
        key = self.keys.chunk_id if entry.kind == CHUNK else self.keys.node_id
        require(entry.kind == NODE or blake2b(plain, key=key) == entry.id,
                "segment '%s': the record at %d does not match its ID" % (segment.name, entry.offset))
        return plain

    def fetch(self, record_id, kind):
        """A record's plain bytes from the first of its places that is whole."""
        error = Damage("record %s is in no readable segment" % record_id.hex()[:16])
        for segment, entry in self.records.get(record_id, ()):
            try:
                require(entry.kind == kind, "record %s is of another kind" % record_id.hex()[:16])
                return self.open_checked(segment, entry)
            except Damage as why:
                error = why
        raise error

    def load_node(self, node_id, level):
        """{slot: ID} of a node, deltas resolved (8)."""
        node_level, base, present, known = parse_node(self.fetch(node_id, NODE))
        for _ in range(8):
            if base is None:
                break
            node_level, base, base_present, ids = parse_node(self.fetch(base, NODE))
            require(set(present) - set(known) <= set(base_present), "a map delta's base lacks a slot")
            known.update((slot, ids[slot]) for slot in present if slot not in known and slot in ids)
        require(base is None, "a map node is a delta too many times over")
        bitmap = bytearray(16)
        for slot in present:
            bitmap[slot // 8] |= 1 << (slot % 8)
        content = bytes([node_level]) + bytes(7) + bytes(bitmap) + b"".join(known[slot] for slot in present)
        require(blake2b(content, key=self.keys.node_id) == node_id and node_level == level,
                "map node %s does not match its ID" % node_id.hex()[:16])
        return {slot: known[slot] for slot in present}

    def walk(self, root, blocks, lost):
        """(block, chunk ID) of all present blocks in order; lost(first, count, why) for what a node's damage costs."""
        height = 1
        while 128 ** height < blocks:
            height += 1

        def below(node_id, level, index):
            first, span = index * 128 ** (level + 1), 128 ** level
            try:
                slots = self.load_node(node_id, level)
                require(first + max(slots) * span < blocks, "a map node reaches past the end of the disk")
            except Damage as error:
                lost(first, min(blocks - first, 128 * span), error)
                return
            for slot, child in slots.items():
                if level == 0:
                    yield first + slot, child
                else:
                    yield from below(child, level - 1, index * 128 + slot)
        if root is not None:
            yield from below(root, height - 1, 0)

    def blocks(self, item, lost):
        """(block, plain bytes) of all present blocks of a disk or document."""
        for block, chunk in self.walk(item["root"], item["blocks"], lost):
            try:
                plain = self.fetch(chunk, CHUNK)
                require(len(plain) == BLOCK, "a chunk has the wrong length")
            except Damage as error:
                lost(block, 1, error)
                continue
            yield block, plain

    def saveset(self, info):
        """A saveset's description (9), with bytes for IDs; its items are the disks and documents."""
        what = "its description "
        try:
            s = json.loads(self.fetch(info.record, SAVESET), object_pairs_hook=no_duplicates)
        except ValueError:
            raise Damage(what + "is no JSON") from None
        require(isinstance(s, dict) and isinstance(s.get("version"), int), what + "is malformed")
        if s["version"] != 1:
            raise ReaderError(what + "is newer than this reader")
        try:
            require(uuid.UUID(s["id"]).bytes == info.id, what + "is of another saveset")
            require(all(isinstance(s[name], str) for name in ("vm", "level", "level_asked")), what + "is malformed")
            s["items"] = [self.saveset_item(item, item["bytes"]["size"]) for item in s["disks"]] + \
                [self.saveset_item(item, item["length"]) for item in s["documents"]]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise Damage(what + "is malformed") from None
        return s

    @staticmethod
    def saveset_item(item, size):
        root = item["root"]
        require(isinstance(item["name"], str) and isinstance(size, int) and 1 <= size <= 1 << 58 and
                item["blocks"] == -(-size // BLOCK) and (root is None or re.fullmatch("[0-9a-fA-F]{64}", root)),
                "a disk in a saveset's description is malformed")
        return {**item, "size": size, "root": None if root is None else bytes.fromhex(root)}

    def savesets(self):
        for info in self.log.savesets:
            try:
                yield self.saveset(info)
            except Damage as error:
                self.damage("saveset %s: %s" % (info.id.hex()[:8], error))


def no_duplicates(pairs):
    require(len(dict(pairs)) == len(pairs), "a field is there twice")
    return dict(pairs)
