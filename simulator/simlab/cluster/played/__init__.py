# SPDX-License-Identifier: GPL-3.0-or-later
"""Controllers of a cluster that are played: programs of containers that the lab does not run.

A program starts when a container with its image runs, with the rights of the pod's service account, and ends with it:
so it is there when, and only when, its manifests have been applied. What it cannot do it says in conditions and events.

========================  ====================================================================================
Cilium's operator         registers its resources; LB-IPAM (``lbipam``); Gateway API (``gateway_controller``)
Cilium's agent            L2 announcements (``l2_announcer``): the address answers on the node's interface
Proxmox CSI, NFS CSI,     volumes for claims, attachment, expansion, deletion (``volumes``, ``storage_drivers``); other
local-path, OpenEBS       CSI drivers say that they are not played
cert-manager              Issuers, Certificates, CertificateRequests, orders (``certificates``): real keys and certificates;
                          ACME is played: the lab's test CA signs; its webhook answers (``webhook``), its injector
                          gives webhooks their authority (``injector``)
========================  ====================================================================================

``python -m simlab.cluster.played --kubeconfig FILE NAME …`` plays them beside a cluster that has no nodes.
"""

from __future__ import annotations

import typing as t

from .certificates import cert_manager
from .cilium_operator import agent, operator
from .injector import cainjector
from .seat import Program, Refused, Seat
from .storage_drivers import DRIVERS, driver_of
from .volumes import storage
from .webhook import webhook

#: A part of the image's name, the longest that fits: what the container does all the time.
PROGRAMS: dict[str, Program] = {
    "cilium/operator": operator,
    "cilium/cilium": agent,
    "cert-manager-controller": cert_manager,
    "cert-manager-webhook": webhook,
    "cert-manager-cainjector": cainjector,
    **{part: storage for driver in DRIVERS for part in driver.images},
}
_NOT = ("cilium/cilium-",)  # cilium-envoy, cilium-cli, …


def program_of(pod: t.Mapping[str, t.Any], name: str) -> Program | None:
    """What a main container of a pod does, None when it just runs."""
    image = next((str(one["image"]) for one in pod["spec"]["containers"] if one["name"] == name), "")
    if any(part in image for part in _NOT):
        return None
    if "csi-provisioner" in image and driver_of(pod) is None:
        return storage
    return next((PROGRAMS[part] for part in sorted(PROGRAMS, key=len, reverse=True) if part in image), None)


__all__ = ["PROGRAMS", "Program", "Refused", "Seat", "program_of"]
