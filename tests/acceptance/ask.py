# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a lab's APIs by plain HTTP, without a line of the collection: ``ask.py JSON``, run inside of the lab.

``{"api": "proxmox", "method": "PUT", "path": "/nodes/pve1/qemu/200/config", "form": {"memory": 8192}}`` or
``{"api": "kubernetes", "method": "PATCH", "path": "/api/v1/nodes/n1", "json": {…}}``. Prints the answer's data as JSON.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
import typing as t

import requests
import yaml

PROXMOX = "https://192.168.30.10:8006/api2/json"


def proxmox(asked: dict[str, t.Any]) -> t.Any:
    token = f"PVEAPIToken={os.environ['ASK_TOKEN_ID']}={os.environ['PROXMOX_TOKEN_SECRET']}"
    answer = requests.request(
        asked["method"],
        PROXMOX + asked["path"],
        data=asked.get("form"),
        headers={"Authorization": token},
        verify=os.environ["PROXMOX_CA_PATH"],
        timeout=30,
    )
    if answer.status_code != 200:
        raise SystemExit(f"{answer.status_code} {answer.reason}: {answer.text}")
    return answer.json()["data"]


def kubernetes(asked: dict[str, t.Any]) -> t.Any:
    with open(os.environ["KUBECONFIG"], encoding="utf-8") as file:
        config = yaml.safe_load(file)
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, data in (
            ("ca", cluster["certificate-authority-data"]),
            ("crt", user["client-certificate-data"]),
            ("key", user["client-key-data"]),
        ):
            paths[name] = os.path.join(folder, name)
            with open(os.open(paths[name], os.O_WRONLY | os.O_CREAT, 0o600), "wb") as out:
                out.write(base64.b64decode(data))
        session = requests.Session()
        session.trust_env = False
        answer = session.request(
            asked["method"],
            cluster["server"] + asked["path"],
            json=asked.get("json"),
            headers={"Content-Type": "application/merge-patch+json"} if asked.get("json") else None,
            verify=paths["ca"],
            cert=(paths["crt"], paths["key"]),
            timeout=30,
        )
    if answer.status_code >= 300:
        raise SystemExit(f"{answer.status_code}: {answer.text}")
    return answer.json()


if __name__ == "__main__":
    question = json.loads(sys.argv[1])
    print(json.dumps({"proxmox": proxmox, "kubernetes": kubernetes}[question["api"]](question)))
