# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of docs/ are what their data says; ``make docs`` writes them."""

from __future__ import annotations

import importlib.util
import pathlib
import typing as t

import pytest

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="module")
def docs() -> t.Any:
    spec = importlib.util.spec_from_file_location("generated_docs", ROOT / "scripts/docs.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_modules_is_up_to_date(docs: t.Any) -> None:
    assert (ROOT / "docs/modules.md").read_text(encoding="utf-8") == docs.modules_page(), "run make docs"


def test_every_module_says_what_it_calls_and_which_rights_it_needs(docs: t.Any) -> None:
    names = {path.stem for path in docs.MODULES.glob("[a-z]*.py")}
    page = docs.modules_page().partition("# Requests")[0]
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith(("| `", "| [`"))]
    assert len(rows) == len(names)
    assert [row[0] for row in rows if len(row) != 4 or "–" in row] == []
    assert sorted(docs.OTHERS.keys() - names) == []


def test_every_proxmox_module_says_what_it_calls_and_which_rights_it_needs(docs: t.Any) -> None:
    calls = docs.calls()
    names = [path.stem for path in docs.MODULES.glob("proxmox_*.py")]
    assert sorted(set(names) - calls.keys()) == []
    assert [name for name in names if not docs.rights(docs.documentation(docs.MODULES / f"{name}.py"))] == []
    assert sorted(calls.keys() - set(names)) == []


def test_no_page_has_quotes_that_sanity_refuses() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    assert [
        page.name for page in pages if set("\u201c\u201d\u2018\u2019") & set(page.read_text(encoding="utf-8"))
    ] == []


def test_markup_becomes_markdown(docs: t.Any) -> None:
    text = "See O(vms[].disks), V(a|b) and\n  M(groundwork.homelab.proxmox_vm), B(not) L(this,https://x.example)."
    assert docs.markdown(text) == r"See `vms[].disks`, `a\|b` and `proxmox_vm`, **not** this."


def test_a_report_becomes_a_table_with_its_ratios(docs: t.Any) -> None:
    cost = {"seconds": 1.5, "whole": 2.5, "cpu": 2.0, "reads": 51, "writes": 0}
    row = {
        "bench": "B2", "name": "50 VMs", "delay": 20, "ours": cost, "peer": {**cost, "seconds": 45.0, "writes": 50},
        "peer_is": "proxmox_kvm", "aim": "no write", "met": True, "note": "a note", "ratio": 30.0,
    }  # fmt: skip
    machine = {
        "processors": 2, "processor": "some", "memory_gib": 24, "system": "Linux 6", "python": "3.13", "load_before": 0.1,
        "seconds": 400, "packages": {"ansible-core": "2.21"}, "peers": {"community.proxmox": "2.0.0"},
    }  # fmt: skip
    page = docs.benchmarks_page({"machine": machine, "size": 100, "titles": {"B2": "VMs"}, "rows": [row]})
    assert "| 50 VMs | 20 ms | 1.50 s | 2.00 s | 51 | 0 | 45.00 s | 2.00 s | 51 | 50 | **30.0** |" in page
    assert "Aim of '50 VMs': no write. Met." in page and "community.proxmox 2.0.0" in page
    missed = docs.benchmarks_page(
        {"machine": machine, "size": 10, "titles": {}, "rows": [{**row, "met": False, "peer": None}]}
    )
    assert "Not met in this run." in missed and "With 10 % of the guests" in missed
