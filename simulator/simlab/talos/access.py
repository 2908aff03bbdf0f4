# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may call what: roles of client certificates, and the methods that need more than to read."""

from __future__ import annotations

from . import refusals

ADMIN, OPERATOR, READER, BACKUP = (
    "os:admin",
    "os:operator",
    "os:reader",
    "os:etcd:backup",
)
#: What a maintenance node gives to everybody (Talos 1.13 and newer).
MAINTENANCE = frozenset({READER})

_ALL = frozenset({ADMIN, OPERATOR, READER})
_OPERATE = frozenset({ADMIN, OPERATOR})
_BACKUP = frozenset({ADMIN, OPERATOR, BACKUP})
_READ_BACKUP = _ALL | {BACKUP}

#: Methods of the MachineService, by name.
_MACHINE = {
    **dict.fromkeys(("EtcdMemberList", "EtcdStatus", "EtcdAlarmList"), _READ_BACKUP),
    "EtcdSnapshot": _BACKUP,
    **dict.fromkeys(
        "Reboot Restart Shutdown ServiceRestart ServiceStart ServiceStop EtcdAlarmDisarm EtcdDefragment ImagePull "
        "PacketCapture".split(),
        _OPERATE,
    ),
    **dict.fromkeys(
        "CPUFreqStats CPUInfo Containers DiskStats DiskUsage Dmesg Events Hostname ImageList List LoadAvg Logs "
        "LogsContainers Memory Mounts Netstat NetworkDeviceStats Processes ServiceList Stats SystemStat "
        "Version".split(),
        _ALL,
    ),
}
_OTHERS = {
    "/cluster.ClusterService/HealthCheck": _ALL,
    **dict.fromkeys((f"/cosi.resource.State/{name}" for name in ("Get", "List", "Watch")), _ALL),
    "/inspect.InspectService/ControllerRuntimeDependencies": _ALL,
    **dict.fromkeys((f"/machine.ImageService/{name}" for name in ("List", "Verify")), _ALL),
    "/machine.ImageService/Pull": _OPERATE,
    "/storage.StorageService/Disks": _ALL,
    **dict.fromkeys((f"/time.TimeService/{name}" for name in ("Time", "TimeCheck")), _ALL),
    #: Not a service of the node's API at all: everybody gets the same "unknown service".
    "/securityapi.SecurityService/Certificate": _READ_BACKUP,
}
_IN_MAINTENANCE = {
    "/machine.MachineService/ApplyConfiguration",
    "/storage.StorageService/BlockDeviceWipe",
}

#: Up to 1.12 a server of its own serves maintenance: it has these methods, and these for SideroLink only.
_OLD_MAINTENANCE = frozenset(
    {
        "/machine.MachineService/ApplyConfiguration",
        "/storage.StorageService/Disks",
        "/storage.StorageService/BlockDeviceWipe",
        *(f"/cosi.resource.State/{name}" for name in ("Get", "List", "Watch")),
    }
)
_OLD_MAINTENANCE_ADMIN = frozenset(
    f"/machine.MachineService/{name}" for name in ("Version", "Upgrade", "Reset", "MetaWrite", "MetaDelete")
)

#: A request to one of these can change something.
WRITES = frozenset(
    "ApplyConfiguration Bootstrap EtcdAlarmDisarm EtcdDefragment EtcdDowngradeCancel EtcdDowngradeEnable "
    "EtcdForfeitLeadership EtcdLeaveCluster EtcdRecover EtcdRemoveMemberByID GenerateClientConfiguration ImagePull "
    "MetaDelete MetaWrite Reboot Reset Restart Rollback ServiceRestart ServiceStart ServiceStop Shutdown Upgrade "
    "Import Pull Remove Install ContainerRun BlockDeviceWipe Create Update Destroy".split()
) - {"GenerateClientConfiguration"}


def check(path: str, roles: frozenset[str], *, maintenance: bool, maintenance_apid: bool) -> None:
    """Raise the refusal of a call that is not allowed, or that an old maintenance server does not know."""
    if maintenance and not maintenance_apid and path not in _OLD_MAINTENANCE:
        if path in _OLD_MAINTENANCE_ADMIN:
            raise refusals.denied()
        service, _, name = path[1:].partition("/")
        known = service in ("machine.MachineService", "storage.StorageService")
        text = f"method {name} not implemented" if known else "API is not implemented in maintenance mode"
        raise refusals.unimplemented(text)
    if not allowed(path, roles, maintenance):
        raise refusals.denied()


def allowed(path: str, roles: frozenset[str], maintenance: bool) -> bool:
    """Whether a caller with these roles may call the method; what stands in no table is for admins."""
    if maintenance and path in _IN_MAINTENANCE:
        return True
    service, _, name = path[1:].partition("/")
    table = _MACHINE.get(name) if service == "machine.MachineService" else _OTHERS.get(path)
    return bool(roles & (table or {ADMIN}))
