# SPDX-License-Identifier: Apache-2.0
"""Rules for C files that the compiler does not know: layers, lines, and functions that are not used here."""

import os
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor

LAYERS = ["base", "store", "pipeline", "ingest", "catalog", "appliance"]
FOLDERS = LAYERS + ["bench", "tests"]
COLUMNS = 120
TAB = 8

# Functions that overflow, hide errors or take the text of strangers as it comes, and what to use in their place.
BANNED = {
    "strcpy": "snprintf or memcpy", "stpcpy": "snprintf or memcpy", "strcat": "snprintf", "strncpy": "snprintf",
    "strncat": "snprintf", "sprintf": "snprintf", "vsprintf": "vsnprintf", "gets": "a cursor", "strtok": "strtok_r",
    "scanf": "a cursor", "fscanf": "a cursor", "sscanf": "a cursor", "atoi": "number_parse", "atol": "number_parse",
    "atoll": "number_parse", "strtol": "number_parse", "strtoul": "number_parse", "strtoll": "number_parse",
    "strtoull": "number_parse", "alloca": "malloc", "system": "posix_spawn", "popen": "posix_spawn",
    "mktemp": "mkstemp", "tmpnam": "mkstemp", "rand": "libsodium's randombytes", "srand": "libsodium's randombytes",
    "localtime": "clock_format_local", "gmtime": "clock_format_utc", "ctime": "clock_format_local",
    "vfork": "posix_spawn", "bzero": "memset",
}
BANNED_CALL = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(BANNED))
COMMENT_OR_STRING = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)
INCLUDE = re.compile(r'\s*#\s*include\s+"([^"]+)"')


def without_comments(text):
    """The text with comments and string literals blanked, lines kept."""
    return COMMENT_OR_STRING.sub(lambda match: re.sub(r"[^\n]", " ", match.group(0)), text)


def is_private(root, header):
    """Only its own folder may include it: it is named so, or its first comment says so."""
    if header.endswith("_internal.h"):
        return True
    with open(os.path.join(root, header), encoding="utf-8") as file:
        return re.match(r"/\* SPDX[^\n]*\n/\* Private to", file.read(200)) is not None


def includes(root, path):
    """Findings about what a file includes: always written from the root, from its own floor or below, and nothing
    private of another folder. Tests may open what they test."""
    folder = path.split("/")[0]
    with open(os.path.join(root, path), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            header = match.group(1)
            target = header.split("/")[0]
            if not os.path.isfile(os.path.join(root, header)):
                if folder != "tests":
                    yield path, number, "includes '%s', which is not written from the root" % header
            elif folder in LAYERS and (target not in LAYERS or LAYERS.index(target) > LAYERS.index(folder)):
                yield path, number, "%s/ includes from %s/, a floor above it" % (folder, target)
            elif folder not in (target, "tests") and is_private(root, header):
                yield path, number, "includes '%s', which is private to %s/" % (header, target)


def calls(root, path):
    """Findings about banned functions. Tests may use them on text of their own."""
    if path.startswith("tests/"):
        return
    with open(os.path.join(root, path), encoding="utf-8") as file:
        text = without_comments(file.read())
    for number, line in enumerate(text.split("\n"), 1):
        match = BANNED_CALL.search(line)
        if match:
            yield path, number, "calls %s; use %s" % (match.group(1), BANNED[match.group(1)])


def lines(root, path):
    """Findings about single lines."""
    with open(os.path.join(root, path), encoding="utf-8") as file:
        for number, line in enumerate(file.read().split("\n"), 1):
            if len(line.expandtabs(TAB)) > COLUMNS:
                yield path, number, "is longer than %d columns" % COLUMNS
            if line != line.rstrip():
                yield path, number, "ends with blanks"


def is_template(root, header):
    """True if the header says that its includer has to define something first."""
    with open(os.path.join(root, header), encoding="utf-8") as file:
        return "The file that includes this defines before it" in file.read(2000)


def headers_alone(root, headers):
    """Findings about headers that need another one in front."""
    flags = subprocess.run(["pkg-config", "--cflags", "libxml-2.0"], capture_output=True, text=True, check=False).stdout
    command = ["cc", "-std=gnu17", "-D_GNU_SOURCE", "-I", root, *shlex.split(flags), "-Wall", "-Wextra", "-Werror",
               "-fsyntax-only", "-x", "c", "-"]

    def compile_alone(header):
        source = '#include "%s"\n#include "%s"\n' % (header, header)
        result = subprocess.run(command, input=source, cwd=root, capture_output=True, text=True, check=False)
        return header, result.stderr

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for header, errors in pool.map(compile_alone, (h for h in headers if not is_template(root, h))):
            for line in errors.splitlines():
                if "error:" in line:
                    yield header, 1, "does not compile alone: " + line.split("error:", 1)[1].strip()
                    break
