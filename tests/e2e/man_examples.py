#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the commands in the EXAMPLES section of a manual page as a script: man_examples.py PAGE ROOT

A command begins with "$ " and goes on to the next one or to the end of its display. Paths under /srv, /exports and /media are
moved below ROOT."""

import re
import sys


def main():
    page, root = sys.argv[1:]
    with open(page, encoding="utf-8") as file:
        section = re.search(r"^\.Sh EXAMPLES\n(.*?)^\.Sh ", file.read(), re.S | re.M).group(1)
    for display in re.findall(r"^\.Bd[^\n]*\n(.*?)^\.Ed", section, re.S | re.M):
        for line in display.splitlines():
            line = line.replace("\\e", "\\").replace("\\-", "-").replace("\\(aq", "'")
            line = line[2:] if line.startswith("$ ") else line
            print(re.sub(r"(?<![\w/.])/(srv|exports|media)\b", lambda match: root + match.group(0), line))


main()
