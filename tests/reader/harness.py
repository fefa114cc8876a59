# SPDX-License-Identifier: Apache-2.0
"""What the tests of this folder share: golden stores in a work directory, the program and the reader run on them."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

sys.dont_write_bytecode = True
for module in ("cryptography", "nacl", "zstandard"):
    if not importlib.util.find_spec(module):
        print("skipped: python3-%s is not installed" % module)
        sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden", "v1")
READER = os.path.join(HERE, "xenolith_reader.py")
PARITY = os.path.join(HERE, "parity.py")
OPTIONS = {"key": "--key-file", "passphrase": "--passphrase-file", "recovery": "--recovery-key-file"}

with open(os.path.join(GOLDEN, "manifest.json"), encoding="utf-8") as manifest_file:
    MANIFEST = json.load(manifest_file)


def program():
    path = os.environ.get("XENOLITH")
    if not path:
        sys.exit("XENOLITH must name the program under test")
    return path


def digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            h.update(data)
    return {"size": os.path.getsize(path), "sha256": h.hexdigest()}


class Work:
    """A directory that goes away in the end."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="xenolith-reader-")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)

    def file(self, *names):
        return os.path.join(self.path, *names)

    def fresh(self, name):
        """A path for a file or folder that is not there."""
        path = self.file(name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            os.remove(path)
        return path


class Store:
    """A store and its secrets; `secret` is the one in use."""

    def __init__(self, path, secrets):
        self.path, self.secrets = path, secrets
        self.secret = "key" if "key" in secrets else "passphrase"

    @classmethod
    def golden(cls, name, work):
        """Unpacks a golden store and puts its secrets beside it."""
        with tarfile.open(os.path.join(GOLDEN, name + ".tar.xz")) as tar:
            tar.extractall(work.path)
        secrets = {}
        for kind, file in MANIFEST[name]["secrets"].items():
            secrets[kind] = shutil.copyfile(os.path.join(GOLDEN, file), work.file(file))
            os.chmod(secrets[kind], 0o600)
        return cls(work.file(name), secrets)

    def with_secret(self, kind):
        other = Store(self.path, self.secrets)
        other.secret = kind
        return other

    def files(self, kind):
        """Paths of the segments of "data" or "meta", by number."""
        folder = os.path.join(self.path, "segments", kind)
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]

    def reader(self, *args):
        return run([READER, self.path, OPTIONS[self.secret], self.secrets[self.secret], *args])

    def program(self, verb, *args):
        return run([program(), verb, "-q", "-s", self.path, OPTIONS[self.secret], self.secrets[self.secret], *args])


class Result:
    def __init__(self, command, code, text):
        self.command, self.code, self.text = command, code, text

    def expect(self, code, *texts):
        """The exit code, and what has to be in the output."""
        if self.code != code or not all(text in self.text for text in texts):
            sys.exit("%s\n%s\nexit code %d instead of %d, or not all of %s in the output" %
                     (" ".join(self.command), self.text, self.code, code, list(texts)))
        return self


def run(command):
    env = {key: value for key, value in os.environ.items() if not key.startswith("XENOLITH_")}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, check=False)
    return Result(command, done.returncode, done.stdout.decode("utf-8", "replace"))


def expect(condition, text):
    if not condition:
        sys.exit("FAILED: " + text)
