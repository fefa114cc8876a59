#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed corpus of fuzz_vhd: make_vhd_seeds.py DIRECTORY"""
import os
import struct
import sys

UNUSED = 0xFFFFFFFF
SECTOR = 512


def sealed(data, at):
    data = bytearray(data)
    data[at : at + 4] = bytes(4)
    data[at : at + 4] = struct.pack(">I", ~sum(data) & 0xFFFFFFFF)
    return bytes(data)


def footer(kind, size, uuid=b"\1" * 16):
    offset = 0xFFFFFFFFFFFFFFFF if kind == 2 else 512
    data = struct.pack(
        ">8sIIQI4sI4sQQIII16s", b"conectix", 2, 0x10000, offset, 1, b"test", 1, b"Wi2k", size, size, 0, kind, 0, uuid
    )
    return sealed(data.ljust(SECTOR, b"\0"), 64)


def header(size, block, parent=bytes(16), name="", locators=()):
    entries = -(-size // block)
    data = struct.pack(
        ">8sQQIIII16sII", b"cxsparse", 0xFFFFFFFFFFFFFFFF, 2048, 0x10000, entries, block, 0, parent, 0, 0
    )
    data += name.encode("utf-16-be").ljust(512, b"\0")
    for code, text, offset in locators:
        data += struct.pack(">4sIIIQ", code, 1, len(text), 0, offset)
    return sealed(data.ljust(1024, b"\0"), 36)


def sparse(size, block, sectors, kind=3, parent=bytes(16), name="", locators=()):
    placed = [(code, text, 1536 + 128 * i) for i, (code, text) in enumerate(locators)]
    table = b"".join(struct.pack(">I", sectors.get(i, UNUSED)) for i in range(-(-size // block)))
    table = table.ljust(-(-len(table) // SECTOR) * SECTOR, b"\xff")
    area = b"".join(text.ljust(128, b"\0") for _, text, _ in placed).ljust(SECTOR, b"\0")
    foot = footer(kind, size)
    return foot + header(size, block, parent, name, placed) + area + table + b"\xf0" * SECTOR + foot


def seeds():
    yield "fixed", bytes(1024) + footer(2, 1024)
    yield "dynamic", sparse(5 << 20, 2 << 20, {1: 5})
    yield "dynamic-small-blocks", sparse(3 << 20, 512 << 10, {0: 5, 2: 1030, 3: 2055})
    yield "overlap", sparse(5 << 20, 2 << 20, {0: 5, 1: 6})
    yield "past-the-end", sparse(5 << 20, 2 << 20, {0: 0x7FFFFFFF})
    yield "child", sparse(
        5 << 20,
        2 << 20,
        {1: 5},
        kind=4,
        parent=b"\2" * 16,
        name="parent.vhd",
        locators=(
            (b"W2ru", ".\\parent.vhd".encode("utf-16-le")),
            (b"W2ku", "C:\\vm\\\u00e4\U0001f600.vhd".encode("utf-16-le")),
            (b"MacX", b"file://./par%65nt.vhd"),
        ),
    )


def main():
    directory = sys.argv[1]
    os.makedirs(directory, exist_ok=True)
    for name, data in seeds():
        with open(os.path.join(directory, name), "wb") as out:
            out.write(data)


main()
