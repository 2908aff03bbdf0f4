# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import typing as t

import pytest
from pve_lab import PveLab


@pytest.fixture
def pve(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[PveLab]:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PROXMOX_PASSWORD", "PROXMOX_TOKEN_SECRET", "PROXMOX_HOST"):
        monkeypatch.delenv(name, raising=False)
    with PveLab(tmp_path) as lab:
        yield lab
