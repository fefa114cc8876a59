#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a raw disk for tests: make_disk.py FILE MIB SEED

Runs of blocks of text, of random bytes, of blocks seen before, and holes, in an order that the seed decides. If FILE is there
already, it becomes another one: every 16th of its blocks is written anew."""

import os
import random
import sys

BLOCK = 65536


def text_block(source):
    words = [b"%s %06d " % (word, source.randrange(1000000)) for word in (b"error", b"login", b"commit", b"page")]
    return b"".join(source.choice(words) for _ in range(BLOCK // 12 + 1))[:BLOCK]


def make(path, blocks, source):
    seen = []
    with open(path, "wb") as file:
        file.truncate(blocks * BLOCK)
        block = 0
        while block < blocks:
            kind = source.choice(["text", "random", "again", "hole"])
            for block in range(block, min(blocks, block + source.randrange(1, 40))):
                if kind == "hole":
                    continue
                data = (source.choice(seen) if kind == "again" and seen else
                        source.randbytes(BLOCK) if kind == "random" else text_block(source))
                seen.append(data)
                file.seek(block * BLOCK)
                file.write(data)
            block += 1


def change(path, source):
    blocks = os.path.getsize(path) // BLOCK
    with open(path, "r+b") as file:
        for block in range(0, blocks, 16):
            file.seek(block * BLOCK)
            file.write(source.randbytes(BLOCK))


def main():
    path, mib, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    source = random.Random(seed)
    if os.path.exists(path):
        change(path, source)
    else:
        make(path, mib * 16, source)


main()
