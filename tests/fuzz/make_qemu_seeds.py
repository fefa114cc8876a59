#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed corpus of fuzz_qemu_whole from images that qemu-img makes: make_qemu_seeds.py DIRECTORY"""
import os
import re
import struct
import subprocess
import sys
import tempfile

FORMATS = ["qcow2", "vmdk", "vdi", "parallels", "raw"]
IMAGES = {
    "qcow2": ("qcow2", ["-o", "cluster_size=512"]),
    "qcow2-compressed": ("qcow2", ["-c", "-o", "cluster_size=4096"]),
    "qcow2-zstd": ("qcow2", ["-c", "-o", "cluster_size=4096,compression_type=zstd"]),
    "qcow2-extended": ("qcow2", ["-o", "cluster_size=16384,extended_l2=on"]),
    "qcow2-old": ("qcow2", ["-o", "cluster_size=512,compat=0.10"]),
    "vmdk": ("vmdk", []),
    "vmdk-stream": ("vmdk", ["-o", "subformat=streamOptimized"]),
    "vdi": ("vdi", []),
    "parallels": ("parallels", ["-o", "cluster_size=65536"]),
}


def patches(data):
    """The bytes that are not zero as { offset (3), length (1), bytes }; gaps of a few zeroes are taken along."""
    for match in re.finditer(rb"[^\0](?:\0{0,7}[^\0]){0,30}", data):
        yield struct.pack("<I", match.start())[:3] + bytes([len(match.group())]) + match.group()


def main():
    directory = sys.argv[1]
    os.makedirs(directory, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        raw = os.path.join(folder, "raw")
        with open(raw, "wb") as file:
            file.write(b"a" * 700 + bytes(50000) + b"b" * 20)
            file.truncate(70144)
        for name, (kind, options) in IMAGES.items():
            image = os.path.join(folder, name)
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", kind, *options, raw, image], check=True)
            with open(image, "rb") as file:
                data = file.read()
            head = struct.pack("<BHB", FORMATS.index(kind), len(data) // 512, len(data) % 512)
            with open(os.path.join(directory, name), "wb") as out:
                out.write(head + b"".join(patches(data)))


main()
