# SPDX-License-Identifier: GPL-3.0-or-later
"""What all judgements by Talos's machinery share: random clusters, and what differs in words."""

from __future__ import annotations

import pathlib
import random
import sys
import typing as t

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from judgement import Judgement
from oracle import version

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import inputs

Json = dict[str, t.Any]
MACHINERY = version(HERE / "oracle", "github.com/siderolabs/talos/pkg/machinery")
#: Versions of Talos with the contracts and the versions of Kubernetes that they take.
TALOS = {
    "v1.13.9": (("v1.12", "v1.13"), ("v1.36.3", "v1.35.0", "v1.34.8")),
    "v1.13.0": (("v1.12", "v1.13"), ("v1.36.0", "v1.31.2")),
    "v1.12.11": (("v1.12",), ("v1.35.1", "v1.33.4")),
}
MANIFEST = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: one\n"
TYPES = ("controlplane", "worker")
CONTRACTS = ("v1.12", "v1.13")


def cluster_of(chance: random.Random) -> Json:
    """The option ``cluster``, in all its values."""
    talos = chance.choice(["v1.13.9", *TALOS])
    contracts, kubernetes = TALOS[talos]
    return {
        "name": chance.choice(["homelab", "x", "a-b.c"]),
        "endpoint": chance.choice(["https://192.168.30.50:6443", "https://k8s.example.org:6443", "https://[fd00::1]:6443"]),
        "talos_version": talos,
        "kubernetes_version": chance.choice(kubernetes),
        "contract": chance.choice(contracts),
        "installer_image": chance.choice([None, f"factory.talos.dev/installer/abc:{talos}"]),
        "install_disk": chance.choice(["/dev/sda", "/dev/nvme0n1"]),
        "pod_subnets": chance.choice([["10.244.0.0/16"], ["10.0.0.0/14", "fc00:db8:10::/56"]]),
        "service_subnets": chance.choice([["10.96.0.0/12"], ["10.8.0.0/16", "fc00:db8:20::/112"]]),
        "dns_domain": chance.choice(["cluster.local", "lab.internal"]),
        "cert_sans": chance.sample(["10.0.0.1", "a.example.org", "fd00::5", "x"], chance.randint(0, 3)),
        "cni": chance.choice(["flannel", "none"]),
        "allow_scheduling_on_control_planes": chance.random() < 0.5,
        "inline_manifests": chance.choice([[], [{"name": "one", "contents": MANIFEST}]]),
    }  # fmt: skip


def cluster(options: Json) -> inputs.Cluster:
    no_patches: Json = {"patches": [], "control_plane_patches": [], "worker_patches": []}
    return inputs.cluster_from({"cluster": options, **no_patches})


def in_words(cases: dict[int, tuple[t.Any, t.Any, t.Any]]) -> list[str]:
    return [
        f"case {seed}: given {given}\n" + "\n".join(f"  {line}" for line in differences(theirs, ours))
        for seed, (given, theirs, ours) in cases.items()
    ]


def differences(theirs: t.Any, ours: t.Any, path: str = "") -> t.Iterator[str]:
    """Only what differs: a config is long."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*theirs, *(key for key in ours if key not in theirs)]:
            yield from differences(theirs.get(key), ours.get(key), f"{path}.{key}")
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for number, (left, right) in enumerate(zip(theirs, ours, strict=True)):
            yield from differences(left, right, f"{path}[{number}]")
    elif theirs != ours:
        yield f"{path}: theirs {str(theirs)[:300]}, ours {str(ours)[:300]}"


def judged(
    name: str,
    what: str,
    cases: int,
    wrong: dict[int, tuple[t.Any, t.Any, t.Any]],
    explained: t.Sequence[tuple[str, str]] = (),
) -> None:
    unexplained = in_words(wrong)[:5]
    Judgement(name, "Talos pkg/machinery", MACHINERY, what, cases, list(explained), unexplained).write()
    assert not wrong, f"{len(wrong)} of {cases} differ\n" + "\n".join(in_words(wrong)[:12])
