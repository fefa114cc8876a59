#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the program writes today, the reader reads: raw disks and XVAs, readable and sealed, opened in every way."""

import json
import os
import sys
import tarfile

from harness import HERE, Store, Work, digest, expect, program, run

MAKE_DISK = os.path.join(HERE, "..", "e2e", "make_disk.py")
MAKE_XVA = os.path.join(HERE, "..", "tools", "make_xva.py")


def write_secret(path, data):
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    return path


def new_store(work, name, *options):
    """A store with a key file; the recovery key as words and as the QR code's text."""
    secrets = {"key": write_secret(work.file(name + ".key"), os.urandom(64))}
    path = work.file(name)
    result = run([program(), "init", "--json", "--key-file", secrets["key"], *options, path]).expect(0)
    for line in result.text.splitlines():
        row = json.loads(line)
        if row["type"] == "recovery_key":
            secrets["recovery"] = write_secret(work.file(name + ".words"), "\n".join(row["words"]).encode())
            qr = write_secret(work.file(name + ".qr"), row["qr"].encode() + b"\n")
    by_code = Store(path, {"recovery": qr})
    by_code.secret = "recovery"
    return Store(path, secrets), by_code


def expect_same(store, work, saveset, name, path):
    out = work.fresh("out")
    store.reader("restore", "%s:%s" % (saveset, name), out).expect(0)
    expect(digest(out) == digest(path), "'%s' of '%s' is not what was backed up" % (name, saveset))


def make_disk(path, mib, seed):
    run([sys.executable, MAKE_DISK, path, str(mib), str(seed)]).expect(0)


def readable(work):
    store, by_code = new_store(work, "readable")
    disk, other, xva = work.file("root.raw"), work.file("data.raw"), work.file("db.xva")
    make_disk(disk, 24, 1)
    make_disk(other, 8, 2)
    store.program("backup", "--vm", "web", "--name", "first", "root=" + disk, "data=" + other).expect(0)
    before = digest(disk)
    make_disk(disk, 24, 3)
    with open(disk, "ab") as file:
        file.write(b"an odd end")
    store.program("backup", "--vm", "web", "--name", "second", "--compression", "9", "root=" + disk).expect(0)
    xva_disk = "%s,ref=4,name=data,device=0" % other
    run([MAKE_XVA, xva, "--disk", xva_disk, "--checksum", "sha1", "--vm-name", "db"]).expect(0)
    store.program("backup", "--name", "third", "--compression", "none", xva).expect(0)
    with tarfile.open(xva) as tar, open(work.file("ova.xml"), "wb") as file:
        file.write(tar.extractfile("ova.xml").read())

    out = work.fresh("all")
    store.reader("restore", "first", out).expect(0)
    expect(digest(os.path.join(out, "root")) == before, "'root' of 'first' is not what was backed up")
    expect(digest(os.path.join(out, "data")) == digest(other), "'data' of 'first' is not what was backed up")
    expect_same(store.with_secret("recovery"), work, "second", "root", disk)
    expect_same(by_code, work, "third", "data", other)
    expect_same(store, work, "third", "ova.xml", work.file("ova.xml"))
    store.reader("check").expect(0, "3 savesets")
    listed = [json.loads(line) for line in store.reader("list", "--json").expect(0).text.splitlines()]
    expect([s["name"] for s in listed] == ["first", "second", "third"], "the list is another one")


def sealed(work):
    store, by_code = new_store(work, "sealed", "--sealed")
    disk = work.file("sealed.raw")
    make_disk(disk, 8, 4)
    store.program("backup", "--vm", "web", "--name", "only", "root=" + disk).expect(0)
    store.reader("list").expect(0, "only")
    store.reader("check").expect(0, "open with the recovery key only")
    store.reader("restore", "only:root", work.fresh("out")).expect(12, "recovery key")
    expect(not os.path.exists(work.file("out")), "a refused restore leaves a file")
    expect_same(store.with_secret("recovery"), work, "only", "root", disk)
    expect_same(by_code, work, "only", "root", disk)


def main():
    with Work() as work:
        readable(work)
        sealed(work)


main()
