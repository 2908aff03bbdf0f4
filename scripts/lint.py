#!/usr/bin/env python3
# Copyright (c) 2026, the groundwork.homelab authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All linters, two at a time; every one runs, and what it found is shown at its end. ``lint.py ruff mypy`` runs some.

ansible-test sanity runs all of its tests but those that need what is not on this machine; which and why is said.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import time
import typing as t

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(sys.executable).parent
LINK = ROOT / ".cache/collections"
STAGE = ROOT / ".build/sanity/ansible_collections/groundwork/homelab"

#: Stands in for a download of ansible-test's that needs the project's own server; pip comes with Python anyway. The
#: maintainers' way for machines that cannot reach it (ansible/ansible issue 77304).
GET_PIP = """\
import os, subprocess, sys
env = dict(os.environ)
env.pop("GET_PIP", None)
args = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]
subprocess.check_call([sys.executable, "-m", "ensurepip"], env=env)
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *args], env=env))
"""
#: Sanity tests that do not run here: name and reason.
NOT_RUN = {"pslint": "it needs PowerShell, and the collection has none"}


@dataclasses.dataclass(frozen=True)
class Linter:
    name: str
    command: t.Sequence[str]
    folder: pathlib.Path = ROOT
    prepare: t.Callable[[], None] | None = None


def linters() -> list[Linter]:
    collection = LINK / "ansible_collections/groundwork/homelab"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    skipped = [part for name in NOT_RUN for part in ("--skip-test", name)]
    return [
        Linter("ruff", ["ruff", "check", "."]),
        Linter("ruff-format", ["ruff", "format", "--check", "."]),
        Linter("mypy-collection", ["mypy", "--config-file", str(ROOT / "mypy.ini"), *_rooms()], LINK),
        Linter("mypy-simulator", ["mypy", "--config-file", "../mypy.ini", "simlab"], ROOT / "simulator"),
        Linter("yamllint", ["yamllint", "--strict", "."]),
        Linter("ansible-lint", ["ansible-lint", "--offline", "--profile", "production"]),
        Linter("antsibull-changelog", ["antsibull-changelog", "lint"]),
        Linter(
            "antsibull-docs",
            ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=self", "."],
            collection,
        ),
        Linter(
            "ansible-test-sanity",
            ["ansible-test", "sanity", "--local", "--python", python, "--color", "no", *skipped],
            STAGE,
            _stage,
        ),
    ]


def _rooms() -> list[str]:
    base = "ansible_collections/groundwork/homelab/plugins"
    return [f"{base}/{name}" for name in ("module_utils", "plugin_utils", "action", "callback", "filter", "modules")]


def _stage() -> None:
    """ansible-test wants a real folder of the collection's full name; it gets what Git knows or would add."""
    shutil.rmtree(STAGE, ignore_errors=True)
    STAGE.mkdir(parents=True)
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    left_out = ("simulator/", "tests/", "molecule/", "docs/design/", ".ci/", "scripts/")
    names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    for name in names:
        source = ROOT / name
        if source.is_file() and (not name.startswith(left_out) or name == "tests/config.yml"):
            target = STAGE / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    # Or else ansible-test asks this checkout's Git, which ignores the folder, and has nothing to test.
    subprocess.run(["git", "init", "--quiet"], cwd=STAGE, check=True)
    cache = pathlib.Path.home() / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in ("24_2", "25_2"):
        file = cache / f"get_pip_{version}.py"
        if not file.exists():
            file.write_text(GET_PIP)


def environment() -> dict[str, str]:
    """Real interpreters before pyenv's shims, which may lead nowhere; Ansible finds this checkout and nothing older."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    roots = [folder.removesuffix("/shims") for folder in folders if folder.endswith("/.pyenv/shims")]
    versions = [
        str(path) for root in roots for path in sorted(pathlib.Path(root).glob("versions/3.*/bin"), reverse=True)
    ]
    mine = {
        "PATH": os.pathsep.join([str(BIN), *versions, *folders]),
        "ANSIBLE_COLLECTIONS_PATH": f"{LINK}:{_site_packages()}",
        "ANSIBLE_HOME": str(ROOT / ".ansible"),
        "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache"),
        "NO_COLOR": "1",
    }
    return {**os.environ, **mine}


def _site_packages() -> str:
    return next((path for path in sys.path if path.endswith("site-packages")), "")


def main() -> int:
    chosen = sys.argv[1:]
    known = linters()
    unknown = sorted(set(chosen) - {linter.name for linter in known})
    if unknown:
        print(
            f"lint: no linter {', '.join(unknown)}; there are {', '.join(one.name for one in known)}", file=sys.stderr
        )
        return 2
    running = [linter for linter in known if not chosen or linter.name in chosen]
    print(f"lint: {', '.join(linter.name for linter in running)} …", flush=True)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        # ansible-test takes longer than all others together, so it begins first.
        passed = dict(zip([one.name for one in running[::-1]], pool.map(passes, running[::-1]), strict=True))
    failed = [linter.name for linter in running if not passed[linter.name]]
    if not chosen or "ansible-test-sanity" in chosen:
        for name, reason in NOT_RUN.items():
            print(f"lint: ansible-test sanity does not run {name}: {reason}")
    print(f"lint: {', '.join(failed)} failed" if failed else "lint: all passed")
    return 1 if failed else 0


def passes(linter: Linter) -> bool:
    started = time.monotonic()
    if linter.prepare is not None:
        linter.prepare()
    program = BIN / linter.command[0]
    result = subprocess.run(
        [str(program), *linter.command[1:]],
        cwd=linter.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    said = f"lint: {linter.name} {'ok' if result.returncode == 0 else 'failed'} ({time.monotonic() - started:.0f} s)"
    print(said if result.returncode == 0 else f"{said}\n{result.stdout}", flush=True)
    return result.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
