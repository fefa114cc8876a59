#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""parity.py, which is written from docs/FORMAT.md, repairs segments that the program wrote: single bytes, the longest
stretch that parity covers, and the copies beside it; and it gives up where it must."""

import os
import random
import struct

from harness import PARITY, Store, Work, expect, run

CELL = 4096


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


class Trial:
    """A segment of a golden store, damaged and repaired."""

    def __init__(self, work, path):
        self.work, self.path, self.whole = work, path, read(path)
        self.column, self.data_end, self.covered = struct.unpack_from("<IQQ", self.whole, len(self.whole) - CELL + 68)

    def damage(self, *ranges):
        """Other bytes in [start, end) for each range; the damaged file's path."""
        data = bytearray(self.whole)
        for start, end in ranges:
            data[start:end] = bytes(byte ^ 0xA5 for byte in data[start:end])
        path = self.work.file("damaged")
        write(path, data)
        return path

    def expect_repair(self, *ranges):
        damaged, out = self.damage(*ranges), self.work.fresh("repaired")
        run([PARITY, "check", damaged]).expect(13, "is damaged")
        run([PARITY, "repair", damaged, out]).expect(0)
        expect(read(out) == self.whole, "a repair of %s gave something else" % (ranges,))

    def expect_loss(self, *ranges):
        run([PARITY, "repair", self.damage(*ranges), self.work.fresh("repaired")]).expect(13)


def try_segment(work, path, random_source):
    trial = Trial(work, path)
    run([PARITY, "check", path]).expect(0)
    length = len(trial.whole)
    table = -(-4 * (trial.covered + 4 * trial.column) // CELL // CELL) * CELL
    parity = trial.covered + table
    for _ in range(3):
        at = random_source.sample([*range(trial.covered), *range(parity, parity + 4 * trial.column)], 4)
        trial.expect_repair(*((offset, offset + 1) for offset in at))
    start = random_source.randrange(max(1, (trial.covered - 4 * trial.column) // CELL + 1)) * CELL
    trial.expect_repair((start, min(trial.covered, start + 4 * trial.column)))
    trial.expect_repair((0, 100), (parity, parity + 3 * trial.column))
    trial.expect_repair((trial.covered, trial.covered + table))
    if trial.covered > 4 * trial.column:
        trial.expect_loss(*((column * trial.column, column * trial.column + 1) for column in range(5)))
    trial.expect_loss((0, 1), (parity, parity + 4 * trial.column))
    trial.expect_loss((trial.covered, parity), (parity + 4 * trial.column, parity + 4 * trial.column + table))
    trial.expect_loss((length - CELL, length))


def main():
    seed = int(os.environ.get("TEST_SEED", random.randrange(1 << 32)))
    print("TEST_SEED=%d" % seed)
    source = random.Random(seed)
    with Work() as work:
        store = Store.golden("readable", work)
        for path in store.files("data")[:2] + store.files("meta")[:1]:
            try_segment(work, path, source)
        # What parity.py repaired is whole to the program.
        path = store.files("data")[0]
        trial = Trial(work, path)
        damaged, out = trial.damage((8000, 8200), (trial.data_end, trial.data_end + 10)), work.fresh("repaired")
        os.replace(damaged, path)
        store.program("scrub").expect(13)
        run([PARITY, "repair", path, out]).expect(0)
        os.replace(out, path)
        store.program("scrub").expect(0)


main()
