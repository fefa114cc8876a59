#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test_golden.py STORE: reader and program restore everything from a golden store, and their checks find no damage."""

import os
import struct
import sys

from harness import MANIFEST, Store, Work, digest, expect
from store_format.primitives import NODE
from store_format.store import Store as StoreReader
from store_format.store import parse_node


def check_item(path, saveset, name, wanted, who):
    expect(digest(path) == wanted, "%s: '%s' of '%s' is not what was backed up" % (who, name, saveset))


def restore_all(store, savesets, work):
    for saveset, items in savesets.items():
        for name, wanted in items.items():
            out = work.fresh("out")
            store.reader("restore", "%s:%s" % (saveset, name), out).expect(0)
            check_item(out, saveset, name, wanted, "reader")
            if name == "ova.xml":
                document = store.program("show", "--document", name, saveset).expect(0).text
                expect(len(document.encode()) == wanted["size"], "program: 'ova.xml' is not what was backed up")
                continue
            out = work.fresh("out")
            store.program("restore", "%s:%s" % (saveset, name), out).expect(0)
            check_item(out, saveset, name, wanted, "program")


def records_of(store):
    """All (segment, entry), through the reader."""
    kind = "recovery" if "recovery" in store.secrets else store.secret
    with open(store.secrets[kind], "rb") as file:
        read = StoreReader(store.path, kind, file.read(), print)
    return read, [(segment, entry) for segment in read.segments for entry in segment.entries]


def has_deltas(store):
    _, records = records_of(store)
    deltas = [parse_node(segment.open_record(entry))[1] for segment, entry in records if entry.kind == NODE]
    return any(deltas) and not all(deltas)


def has_foreign_keys(store):
    _, records = records_of(store)
    return any(segment.key_slots[entry.key_slot].origin != segment.id and segment.entries[entry.ordinal] != entry
               for segment, entry in records)


def has_xchacha(store):
    _, records = records_of(store)
    return all(segment.key_slots[entry.key_slot].cipher == 2 for segment, entry in records)


def has_full_segment(store):
    """And a log that begins with another checkpoint than the first."""
    read, _ = records_of(store)
    with open(os.path.join(store.path, "log-a"), "rb") as file:
        first_sequence, = struct.unpack_from("<32xQ", file.read(40))
    column = int(read.config["segment_size"]) // 64
    return first_sequence > 1 and any(s.trailer.stripes > 3 and s.trailer.column == column for s in read.segments)


def is_sealed(store):
    return records_of(store)[0].config["mode"] == "sealed"


# What each store is there for: without it the test would show nothing.
FEATURES = {"readable": has_deltas, "sealed": is_sealed, "xchacha": has_xchacha, "recovered": has_foreign_keys,
            "small": has_full_segment, "passphrase": lambda store: store.secret == "passphrase"}


def main():
    name = sys.argv[1]
    savesets = MANIFEST[name]["savesets"]
    with Work() as work:
        store = Store.golden(name, work)
        expect(FEATURES[name](store), "'%s' lacks what it is there for" % name)
        listing = store.reader("list").expect(0).text
        for saveset in savesets:
            expect(saveset in listing, "the reader does not list '%s'" % saveset)
        store.reader("check").expect(0)
        store.program("scrub").expect(0)
        if name == "sealed":
            saveset = next(iter(savesets))
            store.reader("restore", saveset + ":root", work.file("refused")).expect(12, "recovery key")
            store.program("restore", saveset + ":root", work.file("refused")).expect(12, "recovery key")
            store = store.with_secret("recovery")
        restore_all(store, savesets, work)
        if "recovery" in store.secrets:
            store.with_secret("recovery").reader("check").expect(0)
        store.program("verify").expect(0)


main()
