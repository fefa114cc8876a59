# SPDX-License-Identifier: Apache-2.0
"""Rules for all files that people read: licence lines, and words that do not belong into something finished."""

import os
import re

LICENCE = "SPDX-License-Identifier: Apache-2.0"
LICENSED = (".c", ".h", ".py", ".sh", ".cmake", ".1", ".5", ".7", ".8", ".yml", ".yaml", ".dict")
LICENSED_NAMES = ("CMakeLists.txt", ".clang-tidy", ".clang-format")

# Pieces, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|HA" r"CK)\b|(?<!X)XX" r"X(?![X+-])|not impl" r"emented|place" r"holder|\bst" r"ubs?\b", re.I)
PLACES = re.compile(r"/wo" r"rk/|/tm" r"p/h\b|/ro" r"ot/|/ho" r"me/[a-z]")


def is_licensed(path, first_line):
    name = os.path.basename(path)
    return name.endswith(LICENSED) or name in LICENSED_NAMES or first_line.startswith("#!")


def licence(path, text):
    """A finding if a file that should have its licence line has none in its first three lines."""
    first = text.split("\n", 3)[:3]
    if is_licensed(path, first[0]) and not any(LICENCE in line for line in first):
        yield path, 1, "has no licence line (%s)" % LICENCE


def words(path, text):
    """Findings about what was left unfinished, and about paths of the machine where it was written."""
    for number, line in enumerate(text.split("\n"), 1):
        match = UNFINISHED.search(line)
        if match:
            yield path, number, "says '%s'" % match.group(0)
        match = PLACES.search(line)
        if match:
            yield path, number, "names a place on one machine, '%s'" % match.group(0)
