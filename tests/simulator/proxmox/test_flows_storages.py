# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of storages, as other clients handle them."""

from __future__ import annotations

import pathlib

import pytest
from flows import Step, walk

NFS = {"storage": "films", "type": "nfs", "server": "192.0.2.1", "export": "/e", "disable": 1}
POOL = {"storage": "tank", "type": "zfspool", "pool": "tank", "disable": 1}
FAILED = "500 update storage failed: "

FLOWS: dict[str, list[Step]] = {
    "what stays as it was made": [
        Step("POST /storage", NFS, {"storage": "films", "type": "nfs"}),
        Step("PUT /storage/films", {"server": "192.0.2.2"}, f"{FAILED}can't change value of fixed parameter 'server'"),
        Step("PUT /storage/films", {"delete": "path"}, f"{FAILED}unable to delete fixed option 'path'"),
        Step("PUT /storage/films", {"delete": "server"}, f"{FAILED}unable to delete required option 'server'"),
        Step("POST /storage", POOL, {"storage": "tank", "type": "zfspool"}),
        Step("PUT /storage/tank", {"pool": "other"}, f"{FAILED}can't change value of fixed parameter 'pool'"),
    ],
    "what is set and deleted at once": [
        Step("POST /storage", NFS, {"storage": "films", "type": "nfs"}),
        Step(
            "PUT /storage/films",
            {"nodes": "pve1", "delete": "nodes"},
            f"{FAILED}cannot set and delete property 'nodes' at the same time!",
        ),
        Step("GET /storage/films", answer={"nodes": None}),
    ],
    "a digest is looked at first": [
        Step(
            "PUT /storage/none",
            {"digest": "0" * 40},
            f"{FAILED}detected modified configuration - file changed by other user? Try again.",
        ),
    ],
}  # fmt: skip


@pytest.mark.parametrize("flow", FLOWS)
def test_storages(tmp_path: pathlib.Path, flow: str) -> None:
    walk(tmp_path, FLOWS[flow])
