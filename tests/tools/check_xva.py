#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reads an uncompressed XVA as strictly as XenServer's importer does, and extracts its disks. Shares no code with the product.

    check_xva.py FILE [--extract DIR] [--checksum sha1|xxhash]

Checked: plain headers of regular files, ova.xml first, the disks that ova.xml names in the order of their directory names,
first and last chunk present, chunks of 1 MiB except the last, checksums as exact text, and an end of exactly two records.
Disks are extracted to DIR/REF with ':' as '_'.
"""

import argparse
import os
import sys
import tarfile
import xml.etree.ElementTree as ElementTree

sys.dont_write_bytecode = True  # the source tree stays clean
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from xva_format import SUFFIXES, checksum_text  # noqa: E402

MIB = 1 << 20


def fail(text):
    raise SystemExit("check_xva: " + text)


def decode(node):
    """An XML-RPC value as a Python value; integers stay text."""
    if len(node) == 0:
        return node.text or ""
    child = node[0]
    if child.tag == "struct":
        return {member.find("name").text: decode(member.find("value")) for member in child}
    if child.tag == "array":
        return [decode(item) for item in child.find("data")]
    return child.text or ""


def expected_disks(document):
    """Directory name and size of each disk in the stream's order."""
    objects = {}
    for entry in decode(ElementTree.fromstring(document))["objects"]:
        objects[entry["id"]] = (entry["class"], entry["snapshot"])
    refs = set()
    for kind, snapshot in objects.values():
        if kind == "VBD" and snapshot["type"] != "CD" and snapshot["VDI"] != "OpaqueRef:NULL":
            sr = objects.get(objects[snapshot["VDI"]][1]["SR"])
            if not sr or sr[1]["content_type"] != "iso":
                refs.add(snapshot["VDI"])
    refs |= {ref for ref, (kind, snapshot) in objects.items() if kind == "VDI" and snapshot["type"] == "suspend"}
    return [(ref, int(objects[ref][1]["virtual_size"])) for ref in sorted(refs, key=str.encode)]


class Members:
    def __init__(self, data):
        self.data, self.at = data, 0

    def next(self):
        record = self.data[self.at : self.at + 512]
        if not any(record):
            return None, None
        info = tarfile.TarInfo.frombuf(record, "ascii", "strict")
        if info.type != tarfile.REGTYPE:
            fail("'%s' is no regular file" % info.name)
        start = self.at + 512
        self.at = start + (info.size + 511) // 512 * 512
        if any(self.data[start + info.size : self.at]):
            fail("the padding of '%s' is not zero" % info.name)
        return info.name, self.data[start : start + info.size]


def read_disk(members, ref, size, form, out):
    count = (size + MIB - 1) // MIB
    previous = -1
    while previous < count - 1:
        name, data = members.next()
        if not name or not name.startswith(ref + "/") or len(name) != len(ref) + 9:
            fail("'%s' where a chunk of %s has to follow" % (name, ref))
        number = int(name[len(ref) + 1 :])
        if number <= previous or number >= count or (previous == -1 and number != 0):
            fail("'%s' is out of order" % name)
        if len(data) != min(MIB, size - number * MIB):
            fail("'%s' has %d bytes" % (name, len(data)))
        sum_name, text = members.next()
        found = [kind for kind, suffix in SUFFIXES.items() if sum_name == name + suffix]
        if not found or (form and found != [form]):
            fail("'%s' where the checksum of '%s' has to follow" % (sum_name, name))
        if text.decode() != checksum_text(found[0], data):
            fail("the checksum of '%s' is wrong" % name)
        previous = number
        if out:
            out.seek(number * MIB)
            out.write(data)
    if out:
        out.truncate(size)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("file")
    p.add_argument("--extract")
    p.add_argument("--checksum", choices=tuple(SUFFIXES))
    args = p.parse_args()
    with open(args.file, "rb") as file:
        members = Members(file.read())
    name, document = members.next()
    if name != "ova.xml":
        fail("the first member is '%s'" % name)
    for ref, size in expected_disks(document):
        if args.extract:
            with open(os.path.join(args.extract, ref.replace(":", "_")), "wb") as out:
                read_disk(members, ref, size, args.checksum, out)
        else:
            read_disk(members, ref, size, args.checksum, None)
    if members.data[members.at :] != bytes(1024):
        fail("the end is not exactly two zero records")


if __name__ == "__main__":
    main()
