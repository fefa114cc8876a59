#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Plays the person at the terminal of `xenolith init`: init_dialogue.py PROGRAM STORE WORDS

Types passphrases and lines of the recovery key, wrong ones first, and writes the words that were shown to WORDS."""

import os
import pty
import re
import select
import sys
import time

PASSPHRASE = "correct horse battery"


class Terminal:
    def __init__(self, arguments):
        self.text = ""
        self.read_up_to = 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execv(arguments[0], arguments)

    def more(self):
        """Reads what has come; False at the end."""
        if not select.select([self.fd], [], [], 60)[0]:
            raise SystemExit("nothing happens; so far: " + self.text)
        try:
            data = os.read(self.fd, 4096)
        except OSError:
            return False
        self.text += data.decode()
        return bool(data)

    def expect(self, pattern):
        while True:
            match = re.compile(pattern).search(self.text, self.read_up_to)
            if match:
                self.read_up_to = match.end()
                return match
            if not self.more():
                raise SystemExit("'%s' did not come; so far: %s" % (pattern, self.text))

    def type(self, line):
        time.sleep(0.1)  # people take a moment, and the terminal's echo has to be off
        os.write(self.fd, line.encode() + b"\n")

    def end(self):
        while self.more():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def main():
    program, store, words_path = sys.argv[1:]
    differ = Terminal([program, "init", store])
    differ.expect(r": $")
    differ.type(PASSPHRASE)
    differ.expect(r": $")
    differ.type("another one")
    assert differ.end() != 0, "two different passphrases were taken"

    terminal = Terminal([program, "init", store])
    terminal.expect(r": $")
    terminal.type(PASSPHRASE)
    terminal.expect(r": $")
    terminal.type(PASSPHRASE)
    lines = [terminal.expect(r"\n *%d: ([a-z]{5}(?: [a-z]{5}){4})" % number).group(1) for number in range(1, 5)]
    assert "█" in terminal.text or terminal.expect("█"), "no QR code"
    number = int(terminal.expect(r"Type line (\d) of the recovery key: $").group(1))
    terminal.type(lines[number % 4])
    terminal.expect(r"not line %d" % number)
    terminal.expect(r"Type line %d of the recovery key: $" % number)
    terminal.type(lines[number - 1].upper().replace(" ", "-"))
    code = terminal.end()
    assert code == 0, "init ended with %d: %s" % (code, terminal.text)
    assert PASSPHRASE not in terminal.text, "the passphrase was echoed"
    with open(words_path, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    os.chmod(words_path, 0o600)


main()
