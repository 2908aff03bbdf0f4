# SPDX-License-Identifier: GPL-3.0-or-later
"""A Helm repository made of a folder of charts: ``index.yaml`` and the packages, packed when they are asked for."""

from __future__ import annotations

import gzip
import hashlib
import io
import pathlib
import tarfile
import typing as t

import yaml

INDEX = "index.yaml"
#: All packages of one content are the same bytes.
_TIME = 0
_CREATED = "2026-01-01T00:00:00Z"


def answer(path: pathlib.Path) -> tuple[bytes, str] | None:
    """Content and type of a repository's file that does not lie there itself: ``path`` is ``…/index.yaml`` or
    ``…/<chart>-<version>.tgz``. None when its folder holds no such chart."""
    charts = _charts(path.parent)
    if path.name == INDEX and charts:
        return _index(charts).encode(), "application/yaml"
    for folder, about in charts:
        if path.name == _package_name(about):
            return _package(folder, str(about["name"])), "application/gzip"
    return None


def _charts(folder: pathlib.Path) -> list[tuple[pathlib.Path, dict[str, t.Any]]]:
    """The folders with a usable Chart.yaml, by name."""
    found = []
    for path in sorted(folder.glob("*/Chart.yaml")):
        try:
            about = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, OSError, UnicodeDecodeError):
            continue
        if isinstance(about, dict) and about.get("name") and about.get("version"):
            found.append((path.parent, about))
    return found


def _package_name(about: t.Mapping[str, t.Any]) -> str:
    return f"{about['name']}-{about['version']}.tgz"


def _index(charts: t.Iterable[tuple[pathlib.Path, dict[str, t.Any]]]) -> str:
    entries: dict[str, list[dict[str, t.Any]]] = {}
    for folder, about in charts:
        digest = hashlib.sha256(_package(folder, str(about["name"]))).hexdigest()
        entry = {**about, "urls": [_package_name(about)], "digest": digest, "created": _CREATED}
        entries.setdefault(str(about["name"]), []).append(entry)
    return yaml.safe_dump({"apiVersion": "v1", "generated": _CREATED, "entries": entries}, sort_keys=False)


def _package(folder: pathlib.Path, name: str) -> bytes:
    """As ``helm package`` makes it: everything below a folder of the chart's name."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=_TIME) as stream:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                entry = tarfile.TarInfo(f"{name}/{path.relative_to(folder).as_posix()}")
                content = path.read_bytes()
                entry.size, entry.mtime, entry.mode = len(content), _TIME, 0o644
                archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
