# SPDX-License-Identifier: Apache-2.0
"""store.conf and keys (3, 4)."""

import hashlib
import hmac
import os
import re
import struct
import uuid

import nacl.bindings
import nacl.exceptions
import nacl.public
import nacl.pwhash

from .primitives import PAGE, Damage, NoStore, ReaderError, WrongKey, blake2b, mac, read_file, require

CONFIG_NAMES = ("format", "id", "mode", "block_size", "segment_size", "stripe_size", "created")
SLOT_NAMES = ("xenolith-key-slot", "kind", "name", "created", "argon2-ops", "argon2-memory", "salt", "master")
RECOVERY_NAMES = ("xenolith-recovery", "public", "master", "check")
UUID_PATTERN = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
TIME_PATTERN = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
CONSONANTS, VOWELS = "bdfghjklmnprstvz", "aiou"


def read_config(path):
    try:
        text = read_file(os.path.join(path, "store.conf"))
    except OSError:
        raise NoStore("there is no store '%s'" % path) from None
    require(len(text) <= PAGE and b"\0" not in text, "'store.conf' is damaged")
    config = {}
    for line in text.decode("utf-8", "replace").split("\n"):
        line = line.lstrip(" \t")
        if line and not line.startswith("#"):
            name, sign, value = line.partition("=")
            require(sign, "'store.conf' has a line that is no setting")
            config[name.rstrip(" \t")] = value.lstrip(" \t")
    if config.get("format", "").isdecimal() and int(config["format"]) > 1:
        raise ReaderError("the store has format %s; this reader knows format 1" % config["format"])
    require(all(name in config for name in (*CONFIG_NAMES, "check")), "'store.conf' is not complete")
    require(config["format"] == "1" and config["mode"] in ("readable", "sealed") and config["block_size"] == "65536" and
            re.fullmatch(UUID_PATTERN, config["id"]), "'store.conf' makes no sense")
    require(config["segment_size"].isdecimal() and config["stripe_size"].isdecimal(), "'store.conf' makes no sense")
    return {**config, "id": config["id"].lower(), "segment_size": str(int(config["segment_size"])),
            "stripe_size": str(int(config["stripe_size"]))}


def key_file_lines(path, names):
    """The values of a file in keys/, which has exactly these lines (4.2)."""
    data = read_file(path)
    lines = data.decode("utf-8", "replace").split("\n")
    require(len(data) <= PAGE and len(lines) == len(names) + 1 and not lines[-1], "key file '%s' is damaged" % path)
    values = []
    for line, name in zip(lines, names):
        require(re.fullmatch(re.escape(name) + " = [^\\x00-\\x1f\\x7f]+", line),
                "key file '%s' is damaged: its '%s' is missing or makes no sense" % (path, name))
        values.append(line[len(name) + 3:])
    require(values[0].isdecimal(), "key file '%s' is damaged" % path)
    if values[0] != "1":
        raise ReaderError("key file '%s' has a format that this reader does not know" % path)
    return values


def unhex(text, size, what):
    require(re.fullmatch("[0-9a-fA-F]{%d}" % (2 * size), text), "%s is damaged" % what)
    return bytes.fromhex(text)


def unwrap(key, wrapped, ad):
    """A wrapped key (4.1); None if it does not fit."""
    try:
        return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(wrapped[24:], ad, wrapped[:24], key)
    except nacl.exceptions.CryptoError:
        return None


def unseal(secret, sealed):
    try:
        return nacl.public.SealedBox(nacl.public.PrivateKey(secret)).decrypt(sealed)
    except nacl.exceptions.CryptoError:
        return None


def open_slot(path, kind, secret, store_id):
    """The master from one key slot; None if the slot is of another kind or the secret is not its own."""
    _, slot_kind, name, created, ops, memory, salt, wrapped = key_file_lines(path, SLOT_NAMES)
    require(slot_kind in ("passphrase", "key-file") and len(name.encode()) <= 64 and ops.isdecimal() and
            memory.isdecimal() and re.fullmatch(TIME_PATTERN, created), "key file '%s' is damaged" % path)
    ops, memory, salt, wrapped = int(ops), int(memory), unhex(salt, 16, path), unhex(wrapped, 72, path)
    require(1 <= ops <= 64 and 8192 <= memory <= 1 << 32 if slot_kind == "passphrase" else ops == 0 and memory == 0,
            "key file '%s' is damaged: no slot costs that much" % path)
    if slot_kind != kind:
        return None
    if kind == "passphrase":
        kek = nacl.pwhash.argon2id.kdf(32, secret, salt, opslimit=ops, memlimit=memory)
    else:
        kek = blake2b(b"xenolith key file", salt, secret)
    ad = store_id + bytes([1 if kind == "passphrase" else 2]) + salt + struct.pack("<QQ", ops, memory)
    return unwrap(kek, wrapped, ad)


def parse_recovery_key(text, store_id):
    """The secret from the words or from the QR code's text (4.3)."""
    text = text.decode("ascii", "replace").strip()
    if text.lower().startswith("xenolith-recovery:"):
        match = re.fullmatch("xenolith-recovery:1:([0-9a-f-]{36}):([0-9a-f]{64})", text, re.IGNORECASE)
        if not match:
            raise WrongKey("the recovery code is not whole")
        if uuid.UUID(match[1]).bytes != store_id:
            raise WrongKey("the recovery key is that of another store")
        return bytes.fromhex(match[2])
    words = [word for word in re.split(r"[\s-]+", re.sub(r"(?m)(^|\s)[1-9][:.]", " ", text.lower())) if word]
    pattern = "[%s][%s][%s][%s][%s]" % (CONSONANTS, VOWELS, CONSONANTS, VOWELS, CONSONANTS)
    if len(words) != 20 or not all(re.fullmatch(pattern, word) for word in words):
        raise WrongKey("a recovery key is four lines of five words of five letters")
    data = b""
    for word in words:
        bits = 0
        for letter in word:
            is_vowel = letter in VOWELS
            bits = bits << 2 | VOWELS.index(letter) if is_vowel else bits << 4 | CONSONANTS.index(letter)
        data += struct.pack(">H", bits)
    secret = b""
    for number in range(4):
        line = data[10 * number:10 * number + 10]
        if blake2b(bytes([number]), line[:8])[:2] != line[8:]:
            raise WrongKey("line %d of the recovery key is mistyped" % (number + 1))
        secret += line[:8]
    return secret


class Keys:
    def __init__(self, path, config, kind, secret):
        """`kind` is passphrase, key-file or recovery, `secret` the file's bytes."""
        self.store_id = uuid.UUID(config["id"]).bytes
        self.recovery_secret = None
        recovery_path = os.path.join(path, "keys", "recovery")
        if not os.path.exists(recovery_path):
            raise Damage("key file '%s' is missing" % recovery_path)
        _, public, sealed, check = key_file_lines(recovery_path, RECOVERY_NAMES)
        public, sealed = unhex(public, 32, recovery_path), unhex(sealed, 80, recovery_path)
        if kind == "recovery":
            self.recovery_secret = parse_recovery_key(secret, self.store_id)
            if nacl.public.PrivateKey(self.recovery_secret).public_key.encode() != public:
                raise WrongKey("the recovery key does not belong to the store")
            master = unseal(self.recovery_secret, sealed)
            require(master, "'%s' is damaged: its master does not open" % recovery_path)
        else:
            master = self.from_slots(path, kind, secret)
        self.derive(master)
        expected = mac(self.auth, b"xenolith recovery", self.store_id, public, sealed)
        require(hmac.compare_digest(unhex(check, 32, recovery_path), expected),
                "'%s' is not the one that was made for this store" % recovery_path)
        lines = "".join("%s = %s\n" % (name, config[name]) for name in CONFIG_NAMES)
        expected = mac(self.auth, b"store.conf", lines.encode()).hex()
        require(hmac.compare_digest(config["check"].encode(), expected.encode()),
                "'store.conf' was changed: its check does not fit")

    def from_slots(self, path, kind, secret):
        damage = None
        for name in sorted(os.listdir(os.path.join(path, "keys"))):
            if not re.fullmatch("slot-[0-5][0-9]|slot-6[0-3]", name):
                continue
            try:
                master = open_slot(os.path.join(path, "keys", name), kind, secret, self.store_id)
            except ReaderError as error:
                damage = error
                continue
            if master:
                return master
        raise damage or WrongKey("the %s opens no key slot of the store" % kind)

    def derive(self, master):
        def key(number):
            return hashlib.blake2b(digest_size=32, key=master, salt=struct.pack("<QQ", number, 0),
                                   person=b"xenolith" + bytes(8)).digest()
        self.chunk_id, self.node_id, self.auth, self.meta_wrap, self.data_wrap = map(key, range(1, 6))
