#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes XVAs, whole and damaged ones, from raw disk images. Shares no code with the product.

    make_xva.py OUT --disk PATH[,ref=10][,name=root][,uuid=...][,device=0][,type=user][,sr=user] ... [options]

OUT may be "-". Without ref= disks are Ref:100, Ref:101, ...
"""

import argparse
import gzip
import os
import sys
import tarfile
import uuid
from xml.sax.saxutils import escape

sys.dont_write_bytecode = True  # the source tree stays clean
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from xva_format import SUFFIXES, checksum_text  # noqa: E402

MIB = 1 << 20


def value(thing):
    """A Python value as XML-RPC, spelled as XenServer does: integers are bare text."""
    if isinstance(thing, bool):
        return "<value><boolean>%d</boolean></value>" % thing
    if isinstance(thing, dict):
        members = "".join("<member><name>%s</name>%s</member>" % (escape(k), value(v)) for k, v in thing.items())
        return "<value><struct>%s</struct></value>" % members
    if isinstance(thing, list):
        return "<value><array><data>%s</data></array></value>" % "".join(map(value, thing))
    return "<value>%s</value>" % escape(str(thing))


class Disk:
    def __init__(self, spec, index):
        path, *options = spec.split(",")
        options = dict(option.split("=", 1) for option in options)
        self.ref = "Ref:" + options.pop("ref", str(100 + index))
        self.name = options.pop("name", "disk %d" % index)
        self.uuid = options.pop("uuid", str(uuid.uuid5(uuid.NAMESPACE_URL, path + str(index))))
        self.device = options.pop("device", str(index))
        self.type = options.pop("type", "user")
        self.sr = options.pop("sr", "user")
        if options:
            raise SystemExit("unknown option of a disk: %s" % ", ".join(options))
        with open(path, "rb") as file:
            self.data = file.read()


def ova_xml(args, disks):
    objects = []

    def add(kind, ref, **snapshot):
        objects.append({"class": kind, "id": ref, "snapshot": snapshot})

    vbds = ["Ref:%d" % (5000 + i) for i, disk in enumerate(disks) if disk.type != "suspend"]
    suspend = [disk.ref for disk in disks if disk.type == "suspend"]
    if args.cd:
        vbds.append("Ref:5999")
    add("host", "Ref:1", uuid=str(uuid.UUID(int=1)), name_label="host", bios_strings={})
    add(
        "VM",
        "Ref:3",
        uuid=args.vm_uuid,
        name_label=args.vm_name,
        power_state="Suspended" if suspend else "Halted",
        is_a_snapshot=False,
        is_control_domain=False,
        VBDs=vbds,
        suspend_VDI=suspend[0] if suspend else "OpaqueRef:NULL",
        platform={"acpi": "1", "nx": "true"},
        recommendations='<restrictions><restriction field="memory-static-max" max="137438953472"/></restrictions>',
    )
    for i, disk in enumerate(disks):
        if disk.type != "suspend":
            add(
                "VBD",
                "Ref:%d" % (5000 + i),
                uuid=str(uuid.UUID(int=5000 + i)),
                VM="Ref:3",
                VDI=disk.ref,
                userdevice=disk.device,
                type="Disk",
                mode="RW",
                bootable=i == 0,
                empty=False,
            )
        add(
            "VDI",
            disk.ref,
            uuid=disk.uuid,
            name_label=disk.name,
            type=disk.type,
            virtual_size=len(disk.data) if not args.lie_size else args.lie_size,
            SR="Ref:900" if disk.sr == "user" else "Ref:901",
            sm_config={},
            tags=[],
        )
    if args.cd:
        add("VBD", "Ref:5999", uuid=str(uuid.UUID(int=5999)), VM="Ref:3", VDI="Ref:6999", userdevice="3", type="CD")
        add("VDI", "Ref:6999", name_label="guest-tools.iso", type="user", virtual_size=4096, SR="Ref:901")
    add("SR", "Ref:900", uuid=str(uuid.UUID(int=900)), name_label="local", type="ext", content_type="user")
    add("SR", "Ref:901", uuid=str(uuid.UUID(int=901)), name_label="tools", type="iso", content_type="iso")
    version = {
        "hostname": "host",
        "date": "2026-01-01",
        "product_version": "8.2.1",
        "product_brand": "XCP-ng",
        "build_number": "1",
        "xapi_major": 1,
        "xapi_minor": 20,
    }
    if args.export_vsn:
        version["export_vsn"] = args.export_vsn
    return ("<?xml version='1.0'?>" + value({"version": version, "objects": objects})).encode()


class Archive:
    """Collects tar members as bytes."""

    def __init__(self, args):
        self.args = args
        self.out = bytearray()
        self.marks = []  # (where it begins, what it is)

    def add(self, name, data):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.mode = 0o400
        header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
        if self.args.old_headers:
            header[257:512] = bytes(255)
            header[148:156] = b" " * 8
            header[148:156] = b"%06o\0 " % sum(header)
        self.marks.append((len(self.out), "header of " + name))
        self.out += header
        self.marks.append((len(self.out), "data of " + name))
        self.out += data
        self.out += bytes(-len(data) % 512)

    def chunk(self, ref, number, data):
        name = "%s/%08d" % (ref, number)
        if name in self.args.leave_out:
            return
        self.add(name, data)
        if self.args.checksum == "none" or name in self.args.no_checksum:
            return
        text = checksum_text(self.args.checksum, data)
        if name in self.args.bad_checksum:
            text = ("1" if text[0] == "0" else "0") + text[1:]
        self.add(name + SUFFIXES[self.args.checksum], text.encode())

    def disk(self, disk):
        args = self.args
        size = args.chunk
        count = (len(disk.data) + size - 1) // size
        keepalives = sorted(int(spec.split("/")[1]) for spec in args.keepalive if spec.split("/")[0] == disk.ref)
        number = 0
        for index in range(count):
            while keepalives and keepalives[0] == index:
                # Uses up a number, and no place on the disk.
                self.chunk(disk.ref, number, b"")
                number += 1
                keepalives.pop(0)
            data = disk.data[index * size : (index + 1) * size]
            if args.pad_last:
                data = data.ljust(size, b"\1" if args.pad_last == "ones" else b"\0")
            needed = index in (0, count - 1) or any(data) or args.no_gaps
            if needed:
                self.chunk(disk.ref, number, data)
            number += 1


def compress(args, data):
    """One frame, or several when asked for."""
    step = (len(data) + args.frames - 1) // args.frames
    parts = [data[i : i + step] for i in range(0, len(data), step)]
    if args.compress == "gzip":
        return b"".join(gzip.compress(part, 1, mtime=0) for part in parts)
    if args.compress == "zstd":
        import zstandard

        return b"".join(zstandard.ZstdCompressor(level=1, write_checksum=True).compress(part) for part in parts)
    return data


def parse_args():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--disk", action="append", default=[], required=False)
    p.add_argument("--vm-name", default="test vm")
    p.add_argument("--vm-uuid", default="5ae4c1d0-0f3c-4f0a-9a59-3c8a5f0d1b11")
    p.add_argument("--export-vsn", type=int, default=2, help="0 leaves it out")
    p.add_argument("--cd", action="store_true", help="add a CD drive with a disc in an ISO library")
    p.add_argument("--checksum", choices=("xxhash", "sha1", "none"), default="xxhash")
    p.add_argument("--compress", choices=("none", "gzip", "zstd"), default="none")
    p.add_argument("--frames", type=int, default=1, help="compress in so many gzip members or zstd frames")
    p.add_argument("--chunk", type=int, default=MIB)
    p.add_argument("--no-gaps", action="store_true", help="write zero chunks too")
    p.add_argument("--pad-last", nargs="?", const="zeroes", choices=("zeroes", "ones"))
    p.add_argument("--keepalive", action="append", default=[], metavar="REF/INDEX", help="an empty member before a chunk")
    p.add_argument("--order", choices=("stream", "reverse"), default="stream", help="of the disks")
    p.add_argument("--old-headers", action="store_true", help="V7 tar headers, without the ustar mark")
    p.add_argument("--old-list", action="store_true", help="end with a checksum document as ancient exports do")
    p.add_argument("--end-padding", type=int, default=0, help="zeroes after the end mark")
    p.add_argument("--no-end", action="store_true")
    p.add_argument("--lie-size", type=int, help="virtual_size of every disk in ova.xml")
    p.add_argument("--bad-checksum", action="append", default=[], metavar="MEMBER")
    p.add_argument("--no-checksum", action="append", default=[], metavar="MEMBER")
    p.add_argument("--leave-out", action="append", default=[], metavar="MEMBER", help="with its checksum")
    p.add_argument("--leave-out-disk", action="append", default=[], metavar="REF")
    p.add_argument("--extra", action="append", default=[], metavar="NAME", help="a small member after the disks")
    p.add_argument("--truncate", type=int, help="bytes of the file to keep; negative: to cut off")
    p.add_argument("--flip", type=int, action="append", default=[], metavar="OFFSET", help="of the file")
    p.add_argument("--ova-xml", help="use this document instead of a made one")
    p.add_argument("--marks", help="write the offset of every header and of all data to this file")
    return p.parse_args()


def main():
    args = parse_args()
    disks = [Disk(spec, i) for i, spec in enumerate(args.disk)]
    archive = Archive(args)
    if args.ova_xml:
        with open(args.ova_xml, "rb") as file:
            archive.add("ova.xml", file.read())
    else:
        archive.add("ova.xml", ova_xml(args, disks))
    for disk in sorted(disks, key=lambda d: d.ref.encode(), reverse=args.order == "reverse"):
        if disk.ref not in args.leave_out_disk and disk.sr == "user":
            archive.disk(disk)
    for name in args.extra:
        archive.add(name, b"extra")
    if args.old_list:
        archive.add("checksum.xml", value({}).encode())
    archive.marks.append((len(archive.out), "end"))
    if not args.no_end:
        archive.out += bytes(1024 + args.end_padding)
    data = bytearray(compress(args, bytes(archive.out)))
    for offset in args.flip:
        data[offset] ^= 1
    if args.truncate is not None:
        del data[args.truncate :]
    if args.marks:
        with open(args.marks, "w") as file:
            file.writelines("%d %s\n" % mark for mark in archive.marks)
    if args.out == "-":
        sys.stdout.buffer.write(data)
    else:
        with open(args.out, "wb") as file:
            file.write(data)


if __name__ == "__main__":
    main()
