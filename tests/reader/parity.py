#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks one segment file by its checksums and repairs it from its parity: docs/FORMAT.md, "Parity and checksums", as a
program. Needs no key, and so trusts what stands in the trailer.

    parity.py check SEGMENT
    parity.py repair SEGMENT OUT

Prints damaged cells. Exit codes: 0 whole or repaired, 1 failed, 2 usage, 13 damage (that cannot be repaired)."""

import hashlib
import struct
import sys

CELL = 4096
COLUMNS, PARITY = 64, 4
DAMAGE = 13


def round_up(value, step):
    return -(-value // step) * step


# ---- CRC-32C ----

def crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC = crc_table()


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ CRC[(value ^ byte) & 255]
    return value ^ 0xFFFFFFFF


# ---- GF(2^8) with 0x11d ----

EXP = [1]
for _ in range(254):
    EXP.append(EXP[-1] << 1 ^ (0x11D if EXP[-1] & 128 else 0))
LOG = {value: power for power, value in enumerate(EXP)}


def multiply(a, b):
    return EXP[(LOG[a] + LOG[b]) % 255] if a and b else 0


def inverse(a):
    return EXP[-LOG[a] % 255]


TIMES = [bytes(multiply(a, b) for b in range(256)) for a in range(256)]


def scale(cell, factor):
    """Every byte of a cell times a factor."""
    return cell.translate(TIMES[factor])


def add(a, b):
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(len(a), "big")


def coefficient(row, column):
    return inverse((COLUMNS + row) ^ column)


# ---- The segment ----

class Segment:
    """Where things stand in a segment file, and which of its cells are whole."""

    def __init__(self, data):
        self.data = bytearray(data)
        page = self.find_trailer()
        self.has_trailer = page[:8] == b"XLTRAILR"
        self.header_length, = struct.unpack_from("<I", page, 12)
        self.column, self.data_end, self.covered = struct.unpack_from("<IQQ", page, 68)
        self.table_length = round_up(4 * ((self.covered + PARITY * self.column) // CELL), CELL)
        self.parity = self.covered + self.table_length
        self.second_table = self.parity + PARITY * self.column
        self.header_copy = self.second_table + self.table_length
        self.length = self.header_copy + self.header_length + CELL
        self.data += bytes(max(0, self.length - len(self.data)))  # a file that was cut: what is gone is damaged
        self.table = self.find_table(page[144:176])

    def find_trailer(self):
        """The last page, or else the footer head."""
        last = self.data[-CELL:]
        if last[:8] == b"XLTRAILR":
            return last
        for at in range(0, len(self.data), CELL):
            if self.data[at:at + 8] == b"XLFOOTER" and struct.unpack_from("<Q", self.data, at + 72)[0] == at:
                return self.data[at:at + CELL]
        raise ValueError("neither trailer nor footer is there")

    def find_table(self, digest):
        copies = [bytes(self.data[at:at + self.table_length]) for at in (self.covered, self.second_table)]
        for copy in copies:
            if hashlib.blake2b(copy, digest_size=32).digest() == digest:
                return copy
        # Without the trailer there is no digest: then two equal copies speak for each other.
        if not self.has_trailer and copies[0] == copies[1]:
            return copies[0]
        raise ValueError("both CRC tables are damaged")

    def cell(self, column, row):
        """Offset of a cell of the 64 + 4 columns; None past the covered end, where all is zero."""
        if column >= COLUMNS:
            return self.parity + (column - COLUMNS) * self.column + row * CELL
        at = column * self.column + row * CELL
        return at if at < self.covered else None

    def read(self, column, row):
        at = self.cell(column, row)
        return bytes(CELL) if at is None else bytes(self.data[at:at + CELL])

    def is_whole(self, column, row):
        at = self.cell(column, row)
        if at is None:
            return True
        index = at // CELL if at < self.covered else (self.covered + at - self.parity) // CELL
        return crc32c(self.data[at:at + CELL]) == struct.unpack_from("<I", self.table, 4 * index)[0]

    def damaged_copies(self):
        """What stands beside the columns and differs from its double; the header's cells must be whole by now."""
        doubles = [("first CRC table", self.covered, self.table), ("second CRC table", self.second_table, self.table),
                   ("header copy", self.header_copy, bytes(self.data[:self.header_length]))]
        return [(name, at, good) for name, at, good in doubles if self.data[at:at + len(good)] != good]


def solve(segment, row, lost, rows):
    """The lost data cells of a row from as many parity rows: Gauss and Jordan, a cell for each right-hand side."""
    matrix, right = [], []
    for parity_row in rows:
        value = segment.read(COLUMNS + parity_row, row)
        for column in set(range(COLUMNS)) - set(lost):
            value = add(value, scale(segment.read(column, row), coefficient(parity_row, column)))
        matrix.append([coefficient(parity_row, column) for column in lost])
        right.append(value)
    for i in range(len(lost)):
        pivot = next(j for j in range(i, len(lost)) if matrix[j][i])
        matrix[i], matrix[pivot], right[i], right[pivot] = matrix[pivot], matrix[i], right[pivot], right[i]
        factor = inverse(matrix[i][i])
        matrix[i], right[i] = [multiply(x, factor) for x in matrix[i]], scale(right[i], factor)
        for j in range(len(lost)):
            factor = matrix[j][i]
            if j != i and factor:
                matrix[j] = [x ^ multiply(y, factor) for x, y in zip(matrix[j], matrix[i])]
                right[j] = add(right[j], scale(right[i], factor))
    return right


def parity_cell(segment, row, parity_row):
    value = bytes(CELL)
    for column in range(COLUMNS):
        value = add(value, scale(segment.read(column, row), coefficient(parity_row, column)))
    return value


def repair_row(segment, row, damaged):
    """Makes the damaged cells of a row anew; False if they are too many."""
    lost = [column for column in damaged if column < COLUMNS]
    whole_rows = [i for i in range(PARITY) if COLUMNS + i not in damaged]
    if len(lost) > len(whole_rows):
        return False
    for column, cell in zip(lost, solve(segment, row, lost, whole_rows[:len(lost)])):
        at = segment.cell(column, row)
        segment.data[at:at + CELL] = cell
    for column in damaged[len(lost):]:
        at = segment.cell(column, row)
        segment.data[at:at + CELL] = parity_cell(segment, row, column - COLUMNS)
    return all(segment.is_whole(column, row) for column in damaged)


def scan(segment, repairs):
    """Tells all damage, and repairs it if asked to. True if nothing is damaged in the end."""
    good = segment.has_trailer
    if not good:
        print("the trailer is damaged; making it again takes the store's key")
    for row in range(segment.column // CELL):
        damaged = [column for column in range(COLUMNS + PARITY) if not segment.is_whole(column, row)]
        for column in damaged:
            print("the cell at %d is damaged" % segment.cell(column, row))
        if damaged:
            good &= repairs and repair_row(segment, row, damaged)
    for name, at, copy in segment.damaged_copies():
        print("the %s at %d is damaged" % (name, at))
        good &= repairs
        segment.data[at:at + len(copy)] = copy
    return good


def main():
    if len(sys.argv) not in (3, 4) or sys.argv[1] != {3: "check", 4: "repair"}[len(sys.argv)]:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with open(sys.argv[2], "rb") as file:
            segment = Segment(file.read())
        good = scan(segment, repairs=sys.argv[1] == "repair")
        if sys.argv[1] == "repair":
            with open(sys.argv[3], "xb") as file:
                file.write(segment.data[:segment.length])
    except ValueError as error:
        print("the segment is lost: %s" % error)
        return DAMAGE
    except OSError as error:
        print("error: %s" % error, file=sys.stderr)
        return 1
    return 0 if good else DAMAGE


if __name__ == "__main__":
    sys.exit(main())
