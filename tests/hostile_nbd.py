# SPDX-License-Identifier: Apache-2.0
"""An NBD server that breaks the rules in the way its last argument names. Serves 4 MiB of zeroes on a Unix socket;
makes the file READY when it listens.

Usage: hostile_nbd.py SOCKET READY BEHAVIOUR
"""
import socket
import struct
import sys
import threading
import time

SIZE = 4 << 20
OPT_ABORT, OPT_GO, OPT_STRUCTURED, OPT_META = 2, 7, 8, 10
REP_ACK, REP_INFO, REP_META, REP_UNSUPPORTED = 1, 3, 4, (1 << 31) + 1
CMD_READ, CMD_DISCONNECT, CMD_BLOCK_STATUS = 0, 2, 7
CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS = 0, 1, 2, 5
FLAGS = 1 | 2 | 256  # has flags, read-only, several connections


class Client:
    def __init__(self, sock, behaviour, number):
        self.sock, self.behaviour, self.number = sock, behaviour, number

    def take(self, n):
        data = b""
        while len(data) < n:
            piece = self.sock.recv(n - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def reply(self, option, kind, data=b""):
        self.sock.sendall(struct.pack(">QIII", 0x3E889045565A9, option, kind, len(data)) + data)

    def go(self, option):
        size = SIZE + (65536 if self.behaviour == "resize" and self.number > 0 else 0)
        self.reply(option, REP_INFO, struct.pack(">HQH", 0, size, FLAGS))
        limits = {"limits": (1, 512, 1000), "unaligned": (3, 512, 4096)}.get(self.behaviour)
        if limits:
            self.reply(option, REP_INFO, struct.pack(">HIII", 3, *limits))
        self.reply(option, REP_ACK)

    def negotiate(self):
        self.sock.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
        self.take(4)
        while True:
            _, option, length = struct.unpack(">QII", self.take(16))
            self.take(length)
            if option == OPT_STRUCTURED:
                self.reply(option, REP_ACK)
            elif option == OPT_META:
                self.reply(option, REP_META, struct.pack(">I", 1) + b"base:allocation")
                self.reply(option, REP_ACK)
            elif option == OPT_GO:
                self.go(option)
                return
            elif option == OPT_ABORT:
                raise EOFError
            else:
                self.reply(option, REP_UNSUPPORTED)

    def chunk(self, cookie, kind, data=b"", last=True):
        self.sock.sendall(struct.pack(">IHHQI", 0x668E33EF, int(last), kind, cookie, len(data)) + data)

    def data(self, cookie, offset, length, last=True):
        self.chunk(cookie, CHUNK_DATA, struct.pack(">Q", offset) + bytes(length), last)

    def read(self, cookie, offset, length):
        if self.behaviour == "short-read":
            self.data(cookie, offset, length // 2)
        elif self.behaviour == "no-data":
            self.chunk(cookie, CHUNK_NONE)
        elif self.behaviour == "read-beyond":
            self.data(cookie, offset + length, 512)
        elif self.behaviour == "wrong-cookie":
            self.data(cookie + 77, offset, length)
        elif self.behaviour == "trickle":
            head = struct.pack(">IHHQIQ", 0x668E33EF, 1, CHUNK_DATA, cookie, length + 8, offset)
            for byte in head + bytes(length):
                self.sock.sendall(bytes([byte]))
                time.sleep(0.02)
        elif self.behaviour == "hang-up" and offset > 0:
            raise EOFError
        else:
            self.chunk(cookie, CHUNK_HOLE, struct.pack(">QI", offset, length // 2), last=False)
            self.data(cookie, offset + length // 2, length - length // 2)

    def status(self, cookie, length):
        extents = {
            "empty-extent": [(0, 3)],
            "no-extents": [],
            "long-extents": [(length, 0), (0xFFFFFFFF, 3), (0xFFFFFFFF, 0)],
            "many-extents": [(512, 3 * (i % 2)) for i in range(length // 512)],
        }.get(self.behaviour, [(length, 0)])
        body = b"".join(struct.pack(">II", *extent) for extent in extents)
        self.chunk(cookie, CHUNK_STATUS, struct.pack(">I", 1) + body)

    def serve(self):
        try:
            self.negotiate()
            while True:
                _, _, command, cookie, offset, length = struct.unpack(">IHHQQI", self.take(28))
                if command == CMD_READ:
                    self.read(cookie, offset, length)
                elif command == CMD_BLOCK_STATUS:
                    self.status(cookie, length)
                else:
                    return
        except (EOFError, OSError):
            pass
        finally:
            self.sock.close()


def main():
    path, ready, behaviour = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        open(ready, "w").close()
        number = 0
        while True:
            sock, _ = server.accept()
            threading.Thread(target=Client(sock, behaviour, number).serve, daemon=True).start()
            number += 1


main()
