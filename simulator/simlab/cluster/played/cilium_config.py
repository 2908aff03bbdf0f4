# SPDX-License-Identifier: GPL-3.0-or-later
"""What Cilium's configuration switches on: the ConfigMap ``cilium-config`` of its namespace."""

from __future__ import annotations

import dataclasses

from ..client import KubeError
from .address_requests import BGP_CLASS, L2_CLASS
from .seat import Seat

CONFIG_MAP = "cilium-config"


@dataclasses.dataclass(frozen=True)
class Settings:
    """``lbipam_default``: LB-IPAM answers for Services without a class."""

    lbipam: bool = True
    lbipam_default: bool = True
    l2: bool = False
    gateway: bool = False
    kube_proxy_replacement: bool = False
    bgp: bool = False

    @property
    def classes(self) -> frozenset[str]:
        """Classes of load balancers that LB-IPAM answers for."""
        return frozenset(name for name, on in ((L2_CLASS, self.l2), (BGP_CLASS, self.bgp)) if on)


async def settings(seat: Seat) -> Settings:
    """As the pods of Cilium mount it, by the kubelet; without nodes by the program itself. Raises KubeError."""
    path = f"/api/v1/namespaces/{seat.namespace}/configmaps/{CONFIG_MAP}"
    try:
        found = await (seat.kubelet or seat.client).get(path)
    except KubeError as error:
        if error.code != 403 or seat.kubelet is None:
            raise
        found = await seat.client.get(path)  # a pod that does not mount it reads it by itself
    data = {str(key): str(value) for key, value in ((found or {}).get("data") or {}).items()}

    def on(key: str, default: str) -> bool:
        return data.get(key, default).lower() in ("true", "strict")

    return Settings(
        lbipam=on("enable-lb-ipam", "true"),
        lbipam_default=data.get("default-lb-service-ipam", "lbipam") == "lbipam",
        l2=on("enable-l2-announcements", "false"),
        gateway=on("enable-gateway-api", "false"),
        kube_proxy_replacement=on("kube-proxy-replacement", "false"),
        bgp=on("enable-bgp-control-plane", "false"),
    )
