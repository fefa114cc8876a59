#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Damaged variants of a golden store: what the reader and the program must say of each, and that they agree. A variant
is a function that damages a copy, so that nothing but the whole store is kept. test_damage.py [NAME...]"""

import os
import shutil
import struct
import sys

from harness import MANIFEST, Store, Work, digest, expect

OK, FAILED, NO_STORE, WRONG_KEY, DAMAGE = 0, 1, 10, 12, 13
CELL = 4096


def flip(path, offset, count=1):
    """Changes bytes; a negative offset counts from the end."""
    with open(path, "r+b") as file:
        file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
        data = file.read(count)
        file.seek(-count, os.SEEK_CUR)
        file.write(bytes(byte ^ 0x55 for byte in data))


def replace(path, old, new):
    with open(path, "r+b") as file:
        data = file.read()
        expect(old in data, "'%s' has no '%s'" % (path, old))
        file.seek(0)
        file.write(data.replace(old, new))
        file.truncate()


class Places:
    """Where things stand in a segment, from its trailer: docs/FORMAT.md, "Segments"."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            file.seek(-CELL, os.SEEK_END)
            page = file.read(CELL)
        self.header, column, self.data_end, self.covered = struct.unpack("<12xI52xIQQ", page[:88])
        table = -(-4 * (self.covered + 4 * column) // CELL // CELL) * CELL
        self.parity = self.covered + table
        self.second_table = self.parity + 4 * column
        self.header_copy = self.second_table + table

    def stripe_directory(self):
        with open(self.path, "rb") as file:
            file.seek(self.header + 40)
            return self.header + struct.unpack("<I", file.read(4))[0]


def data_segment(store):
    return Places(store.files("data")[0])


# ---- The variants. Each says what to expect after damaging the store. ----

class Expect:
    """Exit codes of the reader's check and restore, and of the program's scrub, verify and restore; what the reader and
    the program must say in one of them."""

    def __init__(self, check, restore, scrub, verify, program_restore, reader_says="", program_says=""):
        self.reader = (("check", check), ("restore", restore))
        self.program = (("scrub", scrub), ("verify", verify), ("restore", program_restore))
        self.reader_says, self.program_says = reader_says, program_says


def repaired(says):
    """A double served: everything restores, and the checks tell."""
    return Expect(DAMAGE, OK, DAMAGE, OK, OK, says)


def all_refused(code, says, program_says=None):
    return Expect(code, code, code, code, code, says, says if program_says is None else program_says)


def header(store):
    flip(data_segment(store).path, 20)
    return repaired("the header is damaged")


def header_copy(store):
    segment = data_segment(store)
    flip(segment.path, segment.header_copy + 80)
    return repaired("the header copy is damaged")


def trailer(store):
    flip(data_segment(store).path, -CELL + 100)
    return repaired("the trailer is damaged")


def trailer_cut_off(store):
    path = data_segment(store).path
    os.truncate(path, os.path.getsize(path) - CELL)
    return repaired("the trailer is damaged")


def footer_head(store):
    segment = data_segment(store)
    flip(segment.path, segment.data_end + 100)
    return repaired("the footer head is damaged")


def directory_copy(store):
    segment = data_segment(store)
    flip(segment.path, segment.data_end + CELL + 10)
    return repaired("the directory copy is damaged")


def stripe_directory(store):
    segment = data_segment(store)
    flip(segment.path, segment.stripe_directory() + 10)
    return repaired("the directory of a stripe is damaged")


def both_directories(store):
    directory_copy(store)
    stripe_directory(store)
    return all_refused(DAMAGE, "stripes are too", "stripes at %d are too" % data_segment(store).header)


def both_trailers(store):
    trailer(store)
    footer_head(store)
    # The program still reads the stripes of a segment that the log knows.
    return Expect(DAMAGE, DAMAGE, DAMAGE, OK, OK, "neither trailer nor footer is whole")


def record(store):
    segment = data_segment(store)
    flip(segment.path, segment.header + 128 + 40)
    return all_refused(DAMAGE, "damage", "")


def first_table(store):
    segment = data_segment(store)
    flip(segment.path, segment.covered)
    return Expect(OK, OK, DAMAGE, OK, OK)


def parity(store):
    segment = data_segment(store)
    flip(segment.path, segment.parity + 5000)
    return Expect(OK, OK, DAMAGE, OK, OK)


def segment_missing(store):
    os.remove(store.files("data")[0])
    return all_refused(DAMAGE, "damage", "")


def meta_missing(store):
    for path in store.files("meta"):
        os.remove(path)
    return Expect(DAMAGE, DAMAGE, DAMAGE, DAMAGE, DAMAGE, "damage: saveset ", "some can't be read")


def segment_exchanged(store):
    first, second = store.files("data")[:2]
    shutil.copyfile(second, first)
    return all_refused(DAMAGE, "0000000001.seg': ", "0000000001.seg': ")


def log_a_damaged(store):
    flip(os.path.join(store.path, "log-a"), 40)
    return Expect(OK, OK, DAMAGE, DAMAGE, OK, "'log-a' is damaged")


def log_b_missing(store):
    os.remove(os.path.join(store.path, "log-b"))
    return Expect(OK, OK, DAMAGE, DAMAGE, OK, "'log-b' is damaged")


def log_middle_lost(store):
    """What was committed before can still be had."""
    for name in ("log-a", "log-b"):
        flip(os.path.join(store.path, name), 2 * CELL + 200)
    disk = os.path.join(store.path, "..", "zero.raw")
    with open(disk, "wb") as file:
        file.truncate(1)
    store.program("backup", "--vm", "web", "zero=" + disk).expect(DAMAGE, "entries 3 to 5 are lost")
    return Expect(DAMAGE, OK, DAMAGE, DAMAGE, OK, "entries 3 to 5 are lost")


def log_end_lost(store):
    """The last entry in both files: as if its commit had never been finished."""
    with open(os.path.join(store.path, "log-a"), "rb") as file:
        data = file.read()
    last = max(at for at in range(0, len(data), CELL) if data[at:at + 8] == b"XLLOGENT")
    for name in ("log-a", "log-b"):
        flip(os.path.join(store.path, name), last + 130)
    store.reader("restore", "appliance", os.path.join(store.path, "..", "gone")).expect(FAILED, "no readable saveset")
    return Expect(OK, OK, OK, OK, OK, "3 savesets")


def logs_gone(store):
    for name in ("log-a", "log-b"):
        os.truncate(os.path.join(store.path, name), 0)
    return all_refused(DAMAGE, "neither 'log-a' nor 'log-b' holds a whole commit log")


def mode_changed(store):
    replace(os.path.join(store.path, "store.conf"), b"mode = readable", b"mode = sealed")
    return all_refused(DAMAGE, "its check does not fit")


def newer_format(store):
    replace(os.path.join(store.path, "store.conf"), b"format = 1", b"format = 2")
    return all_refused(FAILED, "the store has format 2")


def no_config(store):
    os.remove(os.path.join(store.path, "store.conf"))
    return all_refused(NO_STORE, "there is no store", "there is no store")


def recovery_exchanged(store):
    path = os.path.join(store.path, "keys", "recovery")
    with open(path, "rb") as file:
        public = file.read().split(b"public = ")[1][:4]
    replace(path, b"public = " + public, b"public = " + (b"1234" if public != b"1234" else b"4321"))
    return all_refused(DAMAGE, "is not the one that was made for this store")


def slot_damaged(store):
    path = os.path.join(store.path, "keys", "slot-00")
    replace(path, b"argon2-ops = 0", b"argon2-ops = 9")
    return all_refused(DAMAGE, "slot-00' is damaged")


def wrong_key(store):
    with open(store.secrets["key"], "wb") as file:
        file.write(bytes(64))
    return all_refused(WRONG_KEY, "", "wrong key file")


def index_is_rubbish(store):
    folder = os.path.join(store.path, "index")
    for name in ("manifest", "00000001.run"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(os.urandom(9000))
    return Expect(OK, OK, OK, OK, OK)


VARIANTS = [header, header_copy, trailer, trailer_cut_off, footer_head, directory_copy, stripe_directory,
            both_directories, both_trailers, record, first_table, parity, segment_missing, meta_missing,
            segment_exchanged, log_a_damaged, log_b_missing, log_middle_lost, log_end_lost, logs_gone, mode_changed,
            newer_format, no_config, recovery_exchanged, slot_damaged, wrong_key, index_is_rubbish]


def check(variant, work):
    name, saveset, disk = "readable", "monday", "root"
    store = Store.golden(name, work)
    wanted = variant(store)
    content = MANIFEST[name]["savesets"][saveset][disk]
    for side, run, expected, must_say in (("reader", store.reader, wanted.reader, wanted.reader_says),
                                          ("program", store.program, wanted.program, wanted.program_says)):
        said = ""
        for verb, code in expected:
            args = ("%s:%s" % (saveset, disk), work.fresh("out")) if verb == "restore" else ()
            said += run(verb, *args).expect(code).text
            expect(verb != "restore" or code != OK or digest(args[1]) == content, "%s restores something else" % side)
        expect(must_say in said, "the %s does not say '%s':\n%s" % (side, must_say, said))


def main():
    for variant in VARIANTS:
        if len(sys.argv) > 1 and variant.__name__ not in sys.argv[1:]:
            continue
        print(variant.__name__, flush=True)
        with Work() as work:
            check(variant, work)


main()
