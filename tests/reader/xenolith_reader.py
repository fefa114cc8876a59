#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reads a Xenolith store and restores from it. Written from docs/FORMAT.md and sharing nothing with the program: it
tests the document and the program, and shows that a store outlives both.

    xenolith_reader.py STORE (--passphrase-file F | --key-file F | --recovery-key-file F) list [--json]
    xenolith_reader.py STORE ... restore SAVESET[:DISK-OR-DOCUMENT] OUT
    xenolith_reader.py STORE ... check

Without a disk OUT is a directory that gets everything. Damage is told on standard error; what is whole is restored all
the same. Exit codes are the program's: 0 done, 1 failed, 2 usage, 10 no store, 12 wrong key, 13 damage.

XXH3 is not computed: the AEAD's tag and the ID cover all that it covers."""

import argparse
import json
import os
import re
import sys

sys.dont_write_bytecode = True  # the source tree stays clean
from store_format.primitives import BLOCK, NODE, Damage, ReaderError, WrongKey, read_file  # noqa: E402
from store_format.store import Store, parse_node  # noqa: E402


class LostRanges:
    """Collects lost blocks of a disk and tells them as ranges."""

    def __init__(self, store, label):
        self.store, self.label, self.ranges = store, label, []

    def __call__(self, first, count, why):
        if self.ranges and self.ranges[-1][0] + self.ranges[-1][1] == first:
            self.ranges[-1][1] += count
        else:
            self.ranges.append([first, count, why])

    def tell(self):
        for first, count, why in self.ranges:
            self.store.damage("%s: blocks %d to %d: %s" % (self.label, first, first + count - 1, why))


def verb_list(store, args):
    for s in store.savesets():
        if args.json:
            print(json.dumps({**{k: v for k, v in s.items() if k not in ("items", "version")}}))
        else:
            names = ", ".join("%s (%d bytes)" % (item["name"], item["size"]) for item in s["items"])
            print("%s  %s  %s  %s: %s" % (s["id"][:8], s["level"], s["vm"], s.get("name", "-"), names))


def find_saveset(store, text):
    """By the beginning of its id, or the newest of a name, or the newest of a VM."""
    savesets = list(store.savesets())
    by_id = [s for s in savesets if s["id"].startswith(text.lower()) and len(text) >= 4]
    for found in (by_id, [s for s in savesets if s.get("name") == text], [s for s in savesets if s["vm"] == text]):
        if found:
            return found[-1]
    raise (Damage if store.damaged else ReaderError)("there is no readable saveset '%s'" % text)


def restore_item(store, item, path):
    """Writes a sparse file. What is lost reads as zeroes."""
    lost = LostRanges(store, "'%s'" % item["name"])
    with open(path, "xb") as file:
        try:
            file.truncate(item["size"])
            for block, plain in store.blocks(item, lost):
                file.seek(block * BLOCK)
                file.write(plain[:item["size"] - block * BLOCK])
        except ReaderError:
            os.remove(path)
            raise
    lost.tell()


def verb_restore(store, args):
    text, _, name = args.saveset.partition(":")
    s = find_saveset(store, text)
    store.damaged = False  # what was told by now is elsewhere; what this restore needs is told by it
    if name:
        items = [item for item in s["items"] if item["name"] == name]
        if not items:
            raise ReaderError("saveset '%s' has no disk or document '%s'" % (text, name))
        restore_item(store, items[0], args.out)
        return
    os.makedirs(args.out, exist_ok=True)
    for item in s["items"]:
        restore_item(store, item, os.path.join(args.out, re.sub(r"^\.|[/\x00-\x1f]", "_", item["name"])))


def verb_check(store, args):
    """Every structure, every record that can be opened, every map, and that each block's chunk is there."""
    whole, closed = set(), 0
    for segment in store.segments:
        for text in segment.check():
            store.damage("segment '%s': %s" % (segment.name, text))
    for record_id, places in store.records.items():
        for segment, entry in places:
            try:
                plain = store.open_checked(segment, entry)
                if entry.kind == NODE:
                    parse_node(plain)
                whole.add(record_id)
            except WrongKey:
                closed += 1
                whole.add(record_id)
            except Damage as error:
                store.damage(str(error))
    for s in store.savesets():
        for item in s["items"]:
            lost = LostRanges(store, "saveset %s, '%s'" % (s["id"][:8], item["name"]))
            for block, chunk in store.walk(item["root"], item["blocks"], lost):
                if chunk not in whole:
                    lost(block, 1, "chunk %s is lost" % chunk.hex()[:16])
            lost.tell()
    print("%d segments, %d records, %d savesets%s" % (
        len(store.segments), len(store.records), len(store.log.savesets),
        "; %d records open with the recovery key only" % closed if closed else ""))


def main():
    parser = argparse.ArgumentParser(description="Reads a Xenolith store.")
    parser.add_argument("store")
    secrets = parser.add_mutually_exclusive_group(required=True)
    for kind in ("passphrase", "key-file", "recovery"):
        option = {"passphrase": "--passphrase-file", "key-file": "--key-file", "recovery": "--recovery-key-file"}[kind]
        secrets.add_argument(option, dest=kind.replace("-", "_"), metavar="FILE")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list").add_argument("--json", action="store_true")
    restore = verbs.add_parser("restore")
    restore.add_argument("saveset")
    restore.add_argument("out")
    verbs.add_parser("check")
    args = parser.parse_args()

    def tell(text):
        print(text, file=sys.stderr)
    try:
        kind = next(kind for kind in ("passphrase", "key-file", "recovery") if getattr(args, kind.replace("-", "_")))
        secret = read_file(getattr(args, kind.replace("-", "_")))
        if kind == "passphrase":
            secret = re.sub(rb"\r?\n\Z", b"", secret)
        store = Store(args.store, kind, secret, tell)
        {"list": verb_list, "restore": verb_restore, "check": verb_check}[args.verb](store, args)
    except ReaderError as error:
        tell("error: %s" % error)
        return error.code
    except OSError as error:
        tell("error: %s" % error)
        return 1
    return Damage.code if store.damaged else 0


if __name__ == "__main__":
    sys.exit(main())
