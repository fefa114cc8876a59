#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Adds golden stores to tests/golden/v1: make_golden.py XENOLITH INIT_SMALL [NAME...]

Every store is made by the program as it is now, from content made here, packed with its keys, and entered into
manifest.json with the digests of all that its savesets hold. A store that is there already is never made again: see the
README beside this file."""

import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "v1")
MAKE_XVA = os.path.join(HERE, "..", "tools", "make_xva.py")
BLOCK = 65536
MIB = 1 << 20


def text_block(number):
    """A block that shrinks to a few hundred bytes."""
    return (b"block %08d of a disk for the ages\n" % number * (BLOCK // 34 + 1))[:BLOCK]


def random_block(seed):
    return random.Random(seed).randbytes(BLOCK)


def write_disk(path, size, blocks):
    """A sparse raw disk: {block number: content}."""
    with open(path, "wb") as file:
        file.truncate(size)
        for number, data in blocks.items():
            file.seek(number * BLOCK)
            file.write(data[:size - number * BLOCK])


class Store:
    """A store in the making. `savesets` collects what the manifest says of it."""

    def __init__(self, name, program, init_small):
        self.name, self.program, self.init_small = name, program, init_small
        self.work = tempfile.mkdtemp(prefix="golden-")
        self.path = os.path.join(self.work, name)
        self.savesets, self.extra_env = {}, {}
        self.secrets = {}

    def file(self, name):
        return os.path.join(self.work, name)

    def run(self, *args):
        env = {**os.environ, "XENOLITH_STORE": self.path, **self.extra_env}
        subprocess.run([self.program, *args], check=True, env=env, stdout=subprocess.DEVNULL)

    def init(self, *options, passphrase=None):
        """Opens with a key file, or with a passphrase if there is one."""
        kind = "passphrase" if passphrase else "key"
        secret = self.file(self.name + "." + kind)
        with open(os.open(secret, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
            file.write(passphrase.encode() + b"\n" if passphrase else random.Random(self.name).randbytes(48))
        self.secrets[kind] = os.path.basename(secret)
        self.extra_env["XENOLITH_PASSPHRASE_FILE" if passphrase else "XENOLITH_KEY_FILE"] = secret
        recovery = self.file(self.name + ".recovery")
        option = ("--passphrase-file", secret) if passphrase else ("--key-file", secret)
        self.run("init", *option, "--recovery-file", recovery, *options, self.path)
        self.secrets["recovery"] = os.path.basename(recovery)

    def backup(self, saveset, *args, **disks):
        """One saveset of raw disks, or of what `args` names; the disks' content is noted for the manifest."""
        named = ["%s=%s" % (disk, self.file(path)) for disk, path in disks.items()]
        self.run("backup", "--name", saveset, "--lanes", "1", *args, *named)
        self.savesets[saveset] = {disk: self.digest(self.file(path)) for disk, path in disks.items()}

    @staticmethod
    def digest(path):
        h = hashlib.sha256()
        with open(path, "rb") as file:
            while data := file.read(MIB):
                h.update(data)
        return {"size": os.path.getsize(path), "sha256": h.hexdigest()}

    def finish(self, about):
        """Packs the store and enters it into the manifest."""
        shutil.rmtree(os.path.join(self.path, "index"), ignore_errors=True)
        os.mkdir(os.path.join(self.path, "index"), 0o700)
        archive = os.path.join(GOLDEN, self.name + ".tar.xz")
        with tarfile.open(archive, "x:xz", preset=9) as tar:
            tar.add(self.path, self.name, filter=anonymous)
        for secret in self.secrets.values():
            shutil.copyfile(self.file(secret), os.path.join(GOLDEN, secret))
        manifest = read_manifest()
        version = subprocess.run([self.program, "version"], check=True, capture_output=True, text=True).stdout
        manifest[self.name] = {"about": about, "made_by": version.split("\n")[0], "secrets": self.secrets,
                               "savesets": self.savesets}
        with open(os.path.join(GOLDEN, "manifest.json"), "w", encoding="utf-8") as file:
            json.dump(manifest, file, indent="\t")
            file.write("\n")
        print("%s: %d bytes" % (archive, os.path.getsize(archive)))
        shutil.rmtree(self.work)


def anonymous(info):
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def read_manifest():
    try:
        with open(os.path.join(GOLDEN, "manifest.json"), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


# ---- The stores ----

def disk_of_a_week(store, day):
    """root: 9 MiB and something odd, changing and growing by the day: its map has two levels, and deltas for nodes."""
    blocks = {n: text_block(n) for n in range(0, 60)}
    blocks.update({n: text_block(1000 + n) for n in range(128, 144)})
    blocks[70], blocks[71], blocks[130] = random_block("a"), random_block("b"), random_block("a")
    size = 9 * MIB + 12345
    if day >= 2:
        blocks[3], blocks[129] = text_block(2003), random_block("c")
        del blocks[5]
        size += 3 * BLOCK
        blocks[146] = text_block(2146)
    if day >= 3:
        blocks[4] = text_block(3004)
    write_disk(store.file("root.raw"), size, blocks)


def make_readable(store):
    store.init()
    write_disk(store.file("zero.raw"), MIB + 1, {})
    write_disk(store.file("huge.raw"), (1 << 30) + 1, {16383: text_block(16383), 16384: b"\xff"})
    for day, name in enumerate(("monday", "tuesday", "wednesday"), 1):
        disk_of_a_week(store, day)
        disks = {"root": "root.raw", "zero": "zero.raw", "huge": "huge.raw"} if day == 1 else {"root": "root.raw"}
        store.backup(name, "--vm", "web", "--tag", "golden", "--note", "for the ages: \u00e4\u00f6\u00fc", **disks)
    write_disk(store.file("a.raw"), 3 * MIB, {0: text_block(1), 17: text_block(2), 47: text_block(0)})
    write_disk(store.file("b.raw"), 1 * MIB, {n: text_block(n) for n in range(3, 9)})
    xva = store.file("db.xva")
    disks = ("--disk", "%s,ref=10,name=root,device=0" % store.file("a.raw"),
             "--disk", "%s,ref=9,name=data,device=1" % store.file("b.raw"))
    subprocess.run([MAKE_XVA, xva, *disks, "--checksum", "xxhash", "--vm-name", "db"], check=True)
    store.backup("appliance", xva)
    with tarfile.open(xva) as tar, open(store.file("ova.xml"), "wb") as file:
        file.write(tar.extractfile("ova.xml").read())
    store.savesets["appliance"] = {name: store.digest(store.file(path)) for name, path in
                                   (("root", "a.raw"), ("data", "b.raw"), ("ova.xml", "ova.xml"))}
    store.finish("raw disks of odd, zero and large size, deltas of map nodes, an XVA with its ova.xml")


def make_sealed(store):
    store.init("--sealed")
    for day, name in enumerate(("monday", "tuesday"), 1):
        disk_of_a_week(store, day)
        store.backup(name, "--vm", "web", root="root.raw")
    store.finish("a sealed store: only the recovery key reads")


def make_xchacha(store):
    """libsodium's question for AES instructions is answered with no."""
    library = store.file("no_aes.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, "-x", "c", "-"], check=True,
                   input=b"int crypto_aead_aes256gcm_is_available(void) { return 0; }")
    store.extra_env["LD_PRELOAD"] = library
    store.init()
    disk_of_a_week(store, 1)
    store.backup("monday", "--vm", "web", root="root.raw")
    store.finish("records sealed with XChaCha20-Poly1305")


def make_passphrase(store):
    store.init(passphrase="correct horse battery staple")
    write_disk(store.file("root.raw"), 2 * BLOCK, {0: text_block(0)})
    store.backup("only", "--vm", "web", root="root.raw")
    store.finish("a passphrase slot of the default cost: 256 MiB")


def segment_end(path):
    """data_end, from the trailer."""
    with open(path, "rb") as file:
        file.seek(-4096 + 72, os.SEEK_END)
        return struct.unpack("<Q", file.read(8))[0]


def make_recovered(store):
    """A crash before the commit: the log as it was, segments cut off behind their stripes, and a torn record. The
    next backup carries the whole records over."""
    store.init()
    write_disk(store.file("root.raw"), MIB, {0: text_block(0)})
    store.backup("before", "--vm", "web", root="root.raw")
    for name in ("log-a", "log-b"):
        shutil.copyfile(os.path.join(store.path, name), store.file(name))
    disk_of_a_week(store, 1)
    store.backup("after", "--vm", "web", root="root.raw")
    for name in ("log-a", "log-b"):
        shutil.copyfile(store.file(name), os.path.join(store.path, name))
    for kind in ("data", "meta"):
        folder = os.path.join(store.path, "segments", kind)
        path = os.path.join(folder, sorted(os.listdir(folder))[-1])
        os.truncate(path, segment_end(path))
        if kind == "data":
            with open(path, "r+b") as file:
                file.seek(4096 + 128 + 5)
                file.write(b"torn")
    store.backup("after", "--vm", "web", root="root.raw")
    store.finish("records carried over after a crash: key slots and ordinals of another segment")


def make_small(store):
    passphrase = "small"
    subprocess.run([store.init_small, store.path, passphrase], check=True)
    with open(os.open(store.file("small.passphrase"), os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
        file.write(passphrase)
    store.secrets["passphrase"] = "small.passphrase"
    store.extra_env["XENOLITH_PASSPHRASE_FILE"] = store.file("small.passphrase")
    disk = {n: random_block("full %d" % n) for n in range(15)}
    write_disk(store.file("root.raw"), 2 * MIB, disk)
    store.backup("day 0", "--vm", "web", root="root.raw")
    write_disk(store.file("tiny.raw"), 1, {0: b"x"})
    for day in range(1, 18):
        store.backup("day %d" % day, "--vm", "web", tiny="tiny.raw")
    store.finish("the smallest sizes: a full segment of several stripes, and a log that started over")


def main():
    program, init_small, *names = sys.argv[1:]
    makers = {name[5:]: function for name, function in globals().items() if name.startswith("make_")}
    os.makedirs(GOLDEN, exist_ok=True)
    for name in names or makers:
        if name in read_manifest():
            print("%s is there already and stays as it is" % name)
        else:
            makers[name](Store(name, os.path.abspath(program), os.path.abspath(init_small)))


main()
