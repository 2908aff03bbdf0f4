# SPDX-License-Identifier: GPL-3.0-or-later
"""``make conformance``: all judges, then the report. Exit status 1 when something differs that nobody explained.

With ``QUICK`` the judges that take minutes to build or to fetch are left out: talosctl, kubectl with upstream's release
manifests, kustomize, sops, age and kubeseal as programs. With ``PVE`` in the environment the integration tests of the
Proxmox room run a second time, on that server, and with ``TALOS`` those of a Talos cluster on those nodes: the README.md in
``tests/integration/proxmox`` and ``tests/integration/talos`` says what they need and what is not touched.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import time
import typing as t

import judgement
import report

ROOT = judgement.ROOT
SHARED = ROOT.parent / "shared"


def _pytest(title: str, paths: t.Sequence[str], environment: t.Mapping[str, str]) -> bool:
    print(f"== {title}", flush=True)
    started = time.monotonic()
    run = [str(ROOT / "scripts" / "run_tests.py")] if "-n" in paths else ["-m", "pytest"]
    command = [sys.executable, *run, "-q", *paths]
    done = subprocess.run(command, cwd=ROOT, env=dict(environment), check=False).returncode
    print(f"== {title}: {'ok' if done == 0 else 'FAILED'} in {time.monotonic() - started:.0f} s", flush=True)
    return done == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=pathlib.Path, default=ROOT / "docs" / "conformance.md")
    given = parser.parse_args()
    os.environ[judgement.VARIABLE] = str(judgement.folder())
    shutil.rmtree(judgement.folder(), ignore_errors=True)
    here = {name: value for name, value in os.environ.items() if name not in ("PVE", "TALOS")}
    fine = [
        _pytest("recordings and descriptions", ["tests/conformance"], here),
        _pytest("requests of the Proxmox room", ["-n", "3", "--dist", "worksteal", "tests/integration/proxmox"], here),
    ]
    if os.environ.get("PVE"):
        fine.append(_pytest(f"Proxmox VE at {os.environ['PVE']}", ["tests/integration/proxmox"], os.environ))
    if os.environ.get("TALOS"):
        fine.append(
            _pytest(f"Talos nodes {os.environ['TALOS']}", ["tests/integration/talos/test_talos_nodes.py"], os.environ)
        )
    found = report.write(given.report)
    if os.environ.get(judgement.QUICK):
        print("quick: talosctl, kubectl, kustomize, sops, age and kubeseal have not judged")
    if not SHARED.is_dir():
        print("../shared was not there: the recordings are judged as they were copied into this checkout")
    for one in found:
        print(f"{one.judged}: {one.cases} cases, {len(one.explained)} explained, {len(one.unexplained)} unexplained")
        if one.missing:
            print(f"  not there: {one.missing}")
    print(f"report: {given.report}")
    return 0 if all(fine) and not any(one.unexplained for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
