#!/usr/bin/env python3
# Copyright (c) 2026, the groundwork.homelab authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of docs/ that are made of data: ``modules.md`` and, of a report of ``make bench``, ``benchmarks.md``.

``docs.py --check`` writes nothing and fails when ``modules.md`` is not what it would write. ``docs.py --calls FILE`` first takes
over the requests that the tests saw (``GROUNDWORK_CALLS=FILE pytest tests/integration/proxmox``).
"""

from __future__ import annotations

import argparse
import ast
import json
import pathlib
import re
import sys
import typing as t

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODULES = ROOT / "plugins/modules"
CALLS = ROOT / "tests/integration/proxmox/calls.txt"
Json = dict[str, t.Any]

#: Modules whose server is not Proxmox VE: what they ask, and what they may do there, where their notes do not say it.
OTHERS: dict[str, tuple[str, str]] = {
    "gateway": (
        "Kubernetes: discovery, one GET or LIST for each kind, dry runs, server-side apply, deletions; one LIST and WATCH while it "
        "waits, and what the reason of a Gateway that is not programmed lies in (its class, events)",
        "",
    ),
    "gateway_route": (
        "Kubernetes: discovery, one GET or LIST for each kind, dry runs, server-side apply, deletions; one LIST and WATCH for each "
        "kind while it waits, and what the reason of a route that is not accepted lies in (its Gateways, their classes, events)",
        "",
    ),
    "gitops_sync": (
        "Kubernetes: GET of the objects and their sources, dry runs and merge patches, one LIST and WATCH for each kind while it waits",
        "`get`, `list`, `watch`, `patch` on the objects and, with `with_source`, their sources",
    ),
    "kubernetes_info": (
        "Kubernetes: one GET or LIST for each query; discovery for kinds that not every server has",
        "`get` and `list` on what is read",
    ),
    "manifests": (
        "Kubernetes: one GET or LIST for each kind, discovery for kinds that not every server has, dry runs, server-side apply; with "
        "`take_over` JSON patches and dry runs of PUT; with `inventory` a ConfigMap; with `prune` deletions. With `urls` downloads",
        "`get`, `list`, `patch` on what is applied, `create` on what is new, `delete` on what is removed; `update` for `take_over`",
    ),
    "node": (
        "Kubernetes: GET or LIST of nodes, dry runs and merge patches; for a drain the pods of each node, budgets, the Eviction API",
        "`get`, `list`, `patch`, `delete` on nodes; `list` on pods and poddisruptionbudgets, `create` on pods/eviction",
    ),
    "preflight": ("nothing", "none"),
    "ready": (
        "Kubernetes: discovery for kinds that not every server has; one LIST and WATCH for each kind in a namespace, or GETs again and "
        "again; for what is not ready its pods and their logs, events, parents and classes",
        "",
    ),
    "sealed_secret": (
        "nothing: files only; with `fetch_certificate` Kubernetes: the controller's Service, and the certificate through it",
        "to read the certificate and the keys, to write its files; with `fetch_certificate` get on services and services/proxy",
    ),
    "sealed_secrets_key": ("nothing: files only", "to write its files"),
    "sops_file": ("nothing: files only", "the identity of one of the file's recipients"),
    "talos_apply_config": (
        "Talos: `Get` and `List` (COSI), `ServiceList`, `List`, `Read`, `EtcdMemberList`, `ApplyConfiguration`",
        "Talos role `os:admin`, or none in maintenance mode",
    ),
    "talos_bootstrap": (
        "Talos: `Get` and `List` (COSI), `ServiceList`, `List`, `Bootstrap`, `EtcdRecover`",
        "Talos role `os:admin`",
    ),
    "talos_config": ("nothing", "to read the secrets bundle"),
    "talos_etcd_info": (
        "Talos: `EtcdStatus`, `EtcdMemberList`, `EtcdAlarmList`; `ServiceList` when etcd does not answer",
        "Talos role `os:reader`, `os:etcd:backup` or more",
    ),
    "talos_etcd_snapshot": (
        "Talos: `EtcdStatus`, `EtcdSnapshot`; `ServiceList` when etcd does not answer; nothing when none is due",
        "Talos role `os:etcd:backup`, `os:operator` or `os:admin`",
    ),
    "talos_health": (
        "Talos: `Get` and `List` (COSI), `ServiceList`, `Logs`, `EtcdMemberList`, `Containers`",
        "Talos role `os:reader`",
    ),
    "talos_image": (
        "Image Factory, where asked to: `/schematics`, `/versions`, `/version/…/extensions/official`, heads of images",
        "none",
    ),
    "talos_info": (
        "Talos: `Get` and `List` (COSI), `Version`, `ServiceList`: only what is asked for",
        "Talos role `os:reader`; `os:admin` for resources that hold secrets; none in maintenance mode",
    ),
    "talos_kubeconfig": ("Talos: `Get`, `Kubeconfig`", "Talos role `os:admin`"),
    "talos_reboot": (
        "Talos: `Get` and `List` (COSI), `ServiceList`, `Read`, `Version`, `EtcdMemberList`, `EtcdForfeitLeadership`, `Reboot`",
        "Talos role `os:operator`; `os:admin` to see the boot ID and to hand over etcd's leadership",
    ),
    "talos_reset": (
        "Talos: `Get` and `List` (COSI), `ServiceList`, `Read`, `Version`, `EtcdMemberList`, `Reset`",
        "Talos role `os:admin`",
    ),
    "talos_secrets": (
        "nothing; with `import_node` Talos: `Get` (COSI)",
        "to write the secrets bundle; with `import_node` Talos role `os:admin`",
    ),
}
MARKUP = re.compile(r"\b([CVMOPBI]|RV|L|U)\(([^()]*(?:\([^()]*\)[^()]*)*)\)")


def documentation(path: pathlib.Path) -> Json:
    """The module's DOCUMENTATION, read without importing it."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(getattr(one, "id", "") == "DOCUMENTATION" for one in node.targets):
            return t.cast(Json, yaml.safe_load(ast.literal_eval(node.value)))
    raise ValueError(f"{path} has no DOCUMENTATION")


def markdown(text: str) -> str:
    """Ansible's markup as Markdown; one line."""

    def one(found: re.Match[str]) -> str:
        kind, inner = found.groups()
        inner = re.sub(r"^groundwork\.homelab\.", "", inner.partition(",")[0] if kind == "L" else inner)
        return {"B": f"**{inner}**", "I": f"*{inner}*", "L": inner, "U": inner}.get(kind, f"`{inner}`")

    return re.sub(r"\s+", " ", MARKUP.sub(one, text)).strip().replace("|", r"\|")


def rights(document: Json) -> str:
    """What the module's notes say of rights."""
    for note in document.get("notes") or ():
        found = re.match(r"Rights that are needed(,[^-]*)?\s*-\s*(.*)", re.sub(r"\s+", " ", note))
        if found:
            where = found[1].lstrip(", ") + ": " if found[1] else ""
            return markdown(where.replace(" :", ":") + found[2].replace(" A token needs them as well as its user.", ""))
    return ""


def calls() -> dict[str, list[tuple[str, str]]]:
    """Module -> (method, path)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in CALLS.read_text(encoding="utf-8").splitlines() if CALLS.exists() else ():
        module, method, path = line.split()
        found.setdefault(module, []).append((method, path))
    return found


def take_over(path: pathlib.Path) -> None:
    """What the tests saw is added to what is known; modules that are gone are left out."""
    known = set(CALLS.read_text(encoding="utf-8").splitlines()) if CALLS.exists() else set()
    lines = known | set(path.read_text(encoding="utf-8").splitlines())
    there = {file.stem for file in MODULES.glob("*.py")}
    CALLS.write_text("".join(f"{line}\n" for line in sorted(lines) if line.split()[0] in there), encoding="utf-8")


def modules_page() -> str:
    known = calls()
    rows, details = [], []
    for path in sorted(MODULES.glob("[a-z]*.py")):
        document = documentation(path)
        name, short = path.stem, markdown(document["short_description"])
        asked = known.get(name, [])
        reads = [of for method, of in asked if method == "GET"]
        writes = [f"{method} {of}" for method, of in asked if method != "GET"]
        others = OTHERS.get(name, ("", ""))
        counts = f"{len(reads)} kinds of read, {len(writes)} of write" if asked else others[0]
        title = f"[`{name}`](#{name})" if asked else f"`{name}`"
        rows.append(f"| {title} | {short} | {counts or '–'} | {rights(document) or others[1] or '–'} |")
        if asked:
            details.append(_details(name, reads, writes))
    return MODULES_PAGE.format(rows="\n".join(rows), details="\n".join(details))


def _details(name: str, reads: list[str], writes: list[str]) -> str:
    lines = [f"## {name}", ""]
    for title, paths in (("Reads", reads), ("Writes", writes)):
        lines += [f"{title}: " + (", ".join(f"`{path}`" for path in paths) or "nothing") + ".", ""]
    return "\n".join(lines)


MODULES_PAGE = """\
<!-- Made by `make docs`; do not edit. -->
# What each module calls, and which rights it needs

The requests are those that the integration tests saw each module make to the played Proxmox VE, by the paths of Proxmox VE's own
description of its API; logging in is left out. The rights are those of the module's documentation: measured on Proxmox VE 9.1.8.
A token needs them as well as its user, unless it was made with `privsep` 0. The roles `AnsibleGuests`, `AnsibleSystem`,
`AnsiblePools` and `AnsibleAccess`, which `proxmox_access` makes, have them.

| Module | What it does | Calls | Rights |
|---|---|---|---|
{rows}

# Requests

{details}"""


# -- benchmarks ------------------------------------------------------------------------------------------------------


def benchmarks_page(report: Json) -> str:
    machine, rows = report["machine"], report["rows"]
    sections = []
    for bench in dict.fromkeys(row["bench"] for row in rows):
        mine = [row for row in rows if row["bench"] == bench]
        sections.append(_section(bench, report["titles"].get(bench, ""), mine))
    packages = ", ".join(f"{name} {version}" for name, version in {**machine["packages"], **machine["peers"]}.items())
    size = "" if report["size"] == 100 else f" With {report['size']} % of the guests of a whole run."
    return BENCHMARKS_PAGE.format(
        processors=machine["processors"],
        processor=machine["processor"],
        memory=machine["memory_gib"],
        system=machine["system"],
        python=machine["python"],
        packages=packages,
        load=machine["load_before"],
        seconds=machine["seconds"],
        size=size,
        sections="\n".join(sections),
    )


def _section(bench: str, title: str, rows: list[Json]) -> str:
    lines = [f"## {bench}: {title}", "", *HEADS]
    lines += [_row(row) for row in rows]
    aims = dict.fromkeys((row["name"], row["aim"]) for row in rows if row["aim"])
    for name, aim in aims:
        met = all(row["met"] for row in rows if row["name"] == name)
        lines += ["", f"Aim of '{name}': {aim}. {'Met.' if met else 'Not met in this run.'}"]
    peers = dict.fromkeys(row["peer_is"] for row in rows if row["peer_is"])
    lines += ["", "Peer: " + "; ".join(f"`{peer}`" for peer in peers) + "."] if peers else []
    for note in dict.fromkeys(f"{row['name']}, {row['delay']} ms: {row['note']}" for row in rows if row["note"]):
        lines += ["", f"- {note}"]
    return "\n".join([*lines, ""])


HEADS = (
    "| What | Delay | Ours: time | CPU | Reads | Writes | Peer: time | CPU | Reads | Writes | Peer / ours |",
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
)


def _row(row: Json) -> str:
    ratio = f"**{row['ratio']}**" if row["ratio"] is not None else "–"
    cells = [row["name"], f"{row['delay']} ms", *_cost(row["ours"]), *_cost(row["peer"]), ratio]
    return f"| {' | '.join(cells)} |"


def _cost(cost: Json | None) -> list[str]:
    if cost is None:
        return ["–"] * 4
    return [f"{cost['seconds']:.2f} s", f"{cost['cpu']:.2f} s", str(cost["reads"]), str(cost["writes"])]


BENCHMARKS_PAGE = """\
<!-- Made by `make docs REPORT=bench.json` of a report of `make bench`; do not edit. -->
# Benchmarks

`make bench` measures this collection and its peers with the same work in the same run, against a played Proxmox VE in a process
of its own. Every request is answered after the delay. Time is what Ansible needs for the tasks themselves, its start left out (for
bootstraps: all of it); CPU is user and system time of the whole run of `ansible-playbook`, start and children included. Requests
are counted by the server.

Machine: {processors} processors ({processor}), {memory} GiB, {system}; Python {python}; {packages}. Load before the run
{load}; the run took {seconds} s.{size}

{sections}"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when modules.md is out of date")
    parser.add_argument("--calls", type=pathlib.Path, help="requests that the tests wrote down")
    parser.add_argument("--report", type=pathlib.Path, help="a report of make bench")
    given = parser.parse_args()
    if given.calls:
        take_over(given.calls)
    page = ROOT / "docs/modules.md"
    text = modules_page()
    if given.check:
        if page.exists() and page.read_text(encoding="utf-8") == text:
            return 0
        print(f"{page.relative_to(ROOT)} is out of date: run make docs", file=sys.stderr)
        return 1
    page.write_text(text, encoding="utf-8")
    print(f"written: {page.relative_to(ROOT)}")
    if given.report:
        page = ROOT / "docs/benchmarks.md"
        page.write_text(benchmarks_page(json.loads(given.report.read_text(encoding="utf-8"))), encoding="utf-8")
        print(f"written: {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
