# SPDX-License-Identifier: Apache-2.0
"""The commit log (10)."""

import hmac
import os
import struct
from collections import namedtuple

from .primitives import DATA, META, PAGE, Damage, ReaderError, mac, require, round_up

LOG_MAX = 1 << 28


class NotContinued(Damage):
    """Here is no entry that continues the log's chain."""


SegmentInfo = namedtuple("SegmentInfo", "number id kind record_count file_length stored raw mac")
SavesetInfo = namedtuple("SavesetInfo", "id record time")
LogEntry = namedtuple("LogEntry", "checkpoint sequence previous mac payload items length")


class LogFile:
    """The chain of one file."""

    def __init__(self, path, keys):
        self.segments, self.savesets = {}, []
        self.last = None
        self.lost_until = 0
        self.name = os.path.basename(path)
        try:
            with open(path, "rb") as file:
                data = file.read(LOG_MAX)
        except OSError:
            return
        at = 0
        while at < len(data):
            try:
                entry = self.entry(data, at, keys)
                self.apply(entry)
            except NotContinued:
                break
            self.last = entry
            at += entry.length
        for behind in range(round_up(at, PAGE), len(data), PAGE):
            try:
                entry = self.entry(data, behind, keys)
            except NotContinued:
                continue
            if entry.sequence > self.sequence:
                self.lost_until = max(self.lost_until, entry.sequence)

    @property
    def sequence(self):
        return self.last.sequence if self.last else 0

    @staticmethod
    def entry(data, at, keys):
        """The authentic entry at an offset."""
        head = data[at:at + 128]
        if len(head) < 128 or head[:8] != b"XLLOGENT":
            raise NotContinued("no entry")
        version, flags, store_id, sequence, _, length, items, previous, zero, seal = \
            struct.unpack("<8xII16sQQII32s8s32s", head)
        payload = data[at + 128:at + 128 + length]
        if len(payload) != length or not hmac.compare_digest(mac(keys.auth, head[:96], payload), seal) or \
                store_id != keys.store_id:
            raise NotContinued("a damaged entry")
        if version != 1 or flags & ~1 or any(zero):
            raise ReaderError("log entry %d is newer than this reader" % sequence)
        return LogEntry(bool(flags & 1), sequence, previous, seal, payload, items, round_up(128 + length, PAGE))

    def apply(self, entry):
        if self.last is None and not entry.checkpoint:
            raise NotContinued("a chain begins with a checkpoint")
        if self.last and (entry.sequence != self.last.sequence + 1 or entry.previous != self.last.mac):
            raise NotContinued("an entry of another chain")
        if entry.checkpoint:
            self.segments, self.savesets = {}, []
        at = 0
        for _ in range(entry.items):
            require(at + 8 <= len(entry.payload), "log entry %d is malformed" % entry.sequence)
            kind, zero, length = struct.unpack_from("<HHI", entry.payload, at)
            body = entry.payload[at + 8:at + 8 + length]
            self.apply_item(entry, kind, body if zero == 0 else b"")
            at += 8 + length
        require(at == len(entry.payload), "log entry %d is malformed" % entry.sequence)

    def apply_item(self, entry, kind, body):
        sizes = {1: 104, 2: 56, 3: 16}
        if kind not in sizes:
            raise ReaderError("log item of unknown type %d: the store is newer than this reader" % kind)
        require(len(body) == sizes[kind], "log entry %d is malformed" % entry.sequence)
        if kind == 1:
            *fields, zero = struct.unpack("<Q16sIIQQQ32s16s", body)
            info = SegmentInfo(*fields)
            require(info.number not in self.segments and info.kind in (DATA, META) and not any(zero),
                    "log entry %d is malformed" % entry.sequence)
            self.segments[info.number] = info
        elif kind == 2:
            self.savesets.append(SavesetInfo(*struct.unpack("<16s32sQ", body)))


def read_log(path, keys, tell):
    """The better of the two chains (10.2). If its lost_until is above its sequence, commits between these are lost."""
    files = [LogFile(os.path.join(path, name), keys) for name in ("log-a", "log-b")]
    best = max(files, key=lambda file: file.sequence)  # the first of equals
    require(best.last, "neither 'log-a' nor 'log-b' holds a whole commit log")
    best.lost_until = max(file.lost_until for file in files)
    for file in files:
        if best.lost_until <= best.sequence and (file.last is None or file.lost_until):
            tell("notice: '%s' is damaged; '%s' is whole and was used" % (file.name, best.name))
    return best
