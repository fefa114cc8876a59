#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs xenolith-bench on small generated disks and checks its reports for sense. No time is judged."""

import html.parser
import json
import math
import os
import shutil
import subprocess
import sys

SCENARIOS = ["first", "unchanged", "changed", "second-vm", "restore", "verify", "scrub"]
LANES = [1, 2]


class Page(html.parser.HTMLParser):
    """Notes what the page would load from elsewhere."""

    def __init__(self):
        super().__init__()
        self.outside = []

    def handle_starttag(self, tag, attributes):
        self.outside += [value for name, value in attributes if name in ("src", "href")]


def numbers(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [n for item in value for n in numbers(item)]
    return [value] if isinstance(value, (int, float)) else []


def check_json(path):
    with open(path, encoding="utf-8") as file:
        report = json.load(file)
    ran = [(row["scenario"], row["lanes"]) for row in report["scenarios"]]
    assert ran == [(scenario, lanes) for scenario in SCENARIOS for lanes in LANES], ran
    assert report["restore_compared"], "no restored disk was compared"
    assert all(math.isfinite(n) for n in numbers(report)), "a figure is not a number"
    by_name = {row["scenario"]: row for row in report["scenarios"]}
    for row in report["scenarios"]:
        terms = sum(term["bytes"] * term["ns_per_byte"] for term in row["roofline"]["terms"]) / 1e9
        assert math.isclose(terms, row["roofline"]["cpu_s"], rel_tol=1e-6), "the terms do not add up"
        assert row["memory"]["peak_bytes"] > 0 and row["wall_s"]["median"] > 0
    disks = {disk["name"]: disk for disk in report["disks"]}
    assert by_name["first"]["new_bytes"] == disks["first"]["new_bytes"], "survey and store disagree on what is new"
    assert by_name["unchanged"]["new_bytes"] == 0, "an unchanged disk has new content"
    assert by_name["changed"]["new_bytes"] == disks["changed"]["new_bytes"]
    assert by_name["second-vm"]["new_bytes"] == disks["second-vm"]["new_bytes"]


def check_refusals(program):
    refused = ((["--generate", "1M"], "needs 64M or more"),
               ([], "one of '--disk FILE' and '--generate SIZE'"),
               (["--generate", "64M", "--scenarios", "none,restore"], "needs 'first' before it"),
               (["--disk", "/nonexistent/disk"], "cannot open '/nonexistent/disk'"))
    for arguments, text in refused:
        done = subprocess.run([program, *arguments], capture_output=True, text=True)
        assert done.returncode != 0 and text in done.stderr, (arguments, done.stderr)


def main():
    program, work = sys.argv[1], sys.argv[2]
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    os.chdir(work)
    check_refusals(program)
    done = subprocess.run([program, "--generate", "64M", "--lanes", ",".join(map(str, LANES)), "--repeat", "1",
                           "--sample", "16M", "--probe-size", "64M", "--levels=-3", "--work", f"{work}/w",
                           "--json", f"{work}/r.json", "--html", f"{work}/r.html"], stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, "xenolith-bench failed"
    assert "compared with its source: identical" in done.stdout
    check_json(f"{work}/r.json")
    page = Page()
    with open(f"{work}/r.html", encoding="utf-8") as file:
        text = file.read()
    page.feed(text)
    assert not page.outside and "url(" not in text, "the page loads something from elsewhere"
    assert os.listdir(f"{work}/w") == [], "files were left behind"
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
