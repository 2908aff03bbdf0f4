# SPDX-License-Identifier: GPL-3.0-or-later
"""What of Proxmox VE's API the simulated one refuses (501), with the reason: every path of the description has one or a handler."""

from __future__ import annotations

import re

#: The first pattern that matches a path says why.
REASONS: tuple[tuple[str, str], ...] = (
    (
        r"/access/(openid/.*|domains/.*/sync)|/cluster/jobs/realm-sync.*",
        "needs a directory server or an identity provider",
    ),
    (r"/access/(tfa|users/.*tfa).*", "a second factor is entered by people"),
    (r"/cluster/acme.*|/nodes/\{node\}/certificates.*", "needs a certificate authority on the internet"),
    (r"/cluster/ceph.*|/nodes/\{node\}/ceph.*", "no Ceph is played"),
    (
        r"/cluster/sdn.*|/nodes/\{node\}/sdn.*",
        "only the built-in zone localnetwork is played; the collection manages no SDN",
    ),
    (r"/cluster/(metrics/export|notifications.*)", "metrics and notifications go to other servers"),
    (r"/cluster/replication.*|/nodes/\{node\}/replication.*", "replication needs ZFS, which stores no data here"),
    (r"/cluster/config.*", "clusters are made by the lab's inventory, not by the API"),
    (r"/cluster/ha/status/.*arm-ha", "no watchdog is played"),
    (r"/cluster/bulk-action.*", "the calls of a node (startall, stopall) do the same"),
    (r"/cluster/jobs/schedule-analyze", "no calendar of jobs is computed: nothing runs by itself"),
    (r"/cluster/qemu.*", "no CPU models of one's own are kept"),
    (r".*/(spiceshell|vncticket|dbus-vmstate)$", "no display is drawn"),
    (r".*/(mtunnel|mtunnelwebsocket|remote_migrate)$", "no second cluster"),
    (r".*/rrd$", "pictures are not drawn; rrddata has the values"),
    (
        r"/nodes/\{node\}/(apt|subscription|disks|hardware|scan|capabilities)(/.*)?",
        "the machine below is not played",
    ),
    (r"/nodes/\{node\}/(report|netstat|execute|wakeonlan|status|hosts)$", "the machine below is not played"),
    (
        r".*/(file-restore/.*|import-metadata|identity|oci-registry-pull|query-oci-repo-tags)$",
        "needs content that is not stored here",
    ),
    (r".*/storage/\{storage\}/content/\{volume\}$", "an experimental call of the real one"),
    (
        r".*/snapshot/\{snapname\}/config$|.*/lxc/\{vmid\}/.*",
        "not measured: containers' snapshots were refused where it was recorded",
    ),
    (r"/nodes/\{node\}/aplinfo", "the catalogue lies on the internet"),
)


def reason(path: str) -> str | None:
    """Why a path is refused, None when nobody said."""
    return next((why for pattern, why in REASONS if re.fullmatch(pattern, path)), None)
