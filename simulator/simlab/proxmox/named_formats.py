# SPDX-License-Identifier: GPL-3.0-or-later
"""Formats that the API's description only names: what they allow, with the real error texts."""

from __future__ import annotations

import calendar
import ipaddress
import re
import typing as t
import zoneinfo

from . import firewall_rules

Format = t.Mapping[str, t.Mapping[str, t.Any]]

_UUID = r"[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}"
_PCI = r"(?:[a-f0-9]{4,}:)?[a-f0-9]{2}:[a-f0-9]{2}(?:\.[a-f0-9])?"
_B64 = r"[A-Za-z0-9+\/]+={0,2}"
CPU_FLAGS = (
    "aes", "amd-no-ssb", "amd-ssbd", "hv-evmcs", "hv-tlbflush", "ibpb", "md-clear", "nested-virt", "pcid", "pdpe1gb",
    "spec-ctrl", "ssbd", "virt-ssbd",
)  # fmt: skip
CPU_MODELS = frozenset(
    """486 Broadwell Broadwell-IBRS Broadwell-noTSX Broadwell-noTSX-IBRS Cascadelake-Server Cascadelake-Server-v2
    Cascadelake-Server-noTSX Cascadelake-Server-v4 Cascadelake-Server-v5 Conroe Cooperlake Cooperlake-v2 EPYC EPYC-IBPB
    EPYC-Milan EPYC-Milan-v2 EPYC-Rome EPYC-Rome-v2 EPYC-Rome-v3 EPYC-Rome-v4 EPYC-v3 EPYC-v4 EPYC-Genoa EPYC-Genoa-v2
    EPYC-Turin GraniteRapids GraniteRapids-v2 Haswell Haswell-IBRS Haswell-noTSX Haswell-noTSX-IBRS Icelake-Client
    Icelake-Client-noTSX Icelake-Server Icelake-Server-noTSX Icelake-Server-v3 Icelake-Server-v4 Icelake-Server-v5
    Icelake-Server-v6 Icelake-Server-v7 IvyBridge IvyBridge-IBRS KnightsMill Nehalem Nehalem-IBRS Opteron_G1 Opteron_G2
    Opteron_G3 Opteron_G4 Opteron_G5 Penryn SandyBridge SandyBridge-IBRS SapphireRapids SapphireRapids-v2
    SapphireRapids-v3 SapphireRapids-v4 SierraForest SierraForest-v2 SierraForest-v3 Skylake-Client Skylake-Client-IBRS
    Skylake-Client-noTSX-IBRS Skylake-Client-v4 Skylake-Server Skylake-Server-IBRS Skylake-Server-noTSX-IBRS
    Skylake-Server-v4 Skylake-Server-v5 Westmere Westmere-IBRS athlon core2duo coreduo host kvm32 kvm64 max pentium
    pentium2 pentium3 phenom qemu32 qemu64 x86-64-v2 x86-64-v2-AES x86-64-v3 x86-64-v4""".split()
)

_TEXT: dict[str, t.Any] = {"type": "string", "optional": 1}
_BOOLEAN: dict[str, t.Any] = {"type": "boolean", "optional": 1}
_ID = {"type": "string", "pattern": r"(?:0x)?[0-9a-fA-F]{4}", "optional": 1}

#: ``pve-qm-ide`` is added from the description (:func:`register_from_schema`).
PROPERTY_STRINGS: dict[str, Format] = {
    "pve-qm-boot": {
        "legacy": {"type": "string", "optional": 1, "default_key": 1, "pattern": "[acdn]{1,4}"},
        "order": {"type": "string", "optional": 1, "format": "pve-qm-bootdev-list"},
    },
    "pve-qm-ipconfig": {
        "ip": {"type": "string", "format": "pve-ipv4-config", "optional": 1},
        "gw": {"type": "string", "format": "ipv4", "optional": 1, "requires": "ip"},
        "ip6": {"type": "string", "format": "pve-ipv6-config", "optional": 1},
        "gw6": {"type": "string", "format": "ipv6", "optional": 1, "requires": "ip6"},
    },
    "pve-qm-rng": {
        "source": {"type": "string", "enum": ["/dev/urandom", "/dev/random", "/dev/hwrng"], "default_key": 1},
        "max_bytes": {"type": "integer", "optional": 1},
        "period": {"type": "integer", "optional": 1},
    },
    "pve-qm-watchdog": {
        "model": {"type": "string", "enum": ["i6300esb", "ib700"], "default_key": 1, "optional": 1},
        "action": {
            "type": "string",
            "enum": ["reset", "shutdown", "poweroff", "pause", "debug", "none"],
            "optional": 1,
        },
    },
    "pve-qm-cicustom": {
        kind: {"type": "string", "optional": 1, "format": "pve-volume-id"}
        for kind in ("meta", "network", "user", "vendor")
    },
    "pve-qm-smbios1": {
        "uuid": {"type": "string", "pattern": _UUID, "optional": 1},
        **{
            key: {"type": "string", "pattern": _B64, "optional": 1}
            for key in ("version", "serial", "manufacturer", "product", "sku", "family")
        },
        "base64": _BOOLEAN,
    },
    "pve-qm-hostpci": {
        "host": {"type": "string", "default_key": 1, "optional": 1, "pattern": f"{_PCI}(?:;{_PCI})*"},
        "mapping": {"type": "string", "optional": 1, "format": "pve-configid"},
        "rombar": _BOOLEAN,
        "romfile": {"type": "string", "pattern": r"[^,;]+", "optional": 1},
        "pcie": _BOOLEAN,
        "x-vga": _BOOLEAN,
        "legacy-igd": _BOOLEAN,
        "mdev": {"type": "string", "pattern": r"[^/\.:]+", "optional": 1},
        **{key: _ID for key in ("vendor-id", "device-id", "sub-vendor-id", "sub-device-id")},
    },
    "pve-vm-cpu-conf": {
        "cputype": {"type": "string", "default_key": 1, "optional": 1},
        "reported-model": _TEXT,
        "hidden": _BOOLEAN,
        "hv-vendor-id": {"type": "string", "pattern": "[a-zA-Z0-9]{1,12}", "optional": 1},
        "flags": {"type": "string", "optional": 1, "pattern": r"[+-][a-zA-Z0-9\-_.]+(;[+-][a-zA-Z0-9\-_.]+)*"},
        "phys-bits": {"type": "string", "optional": 1, "pattern": r"host|\d{1,2}"},
        "guest-phys-bits": {"type": "integer", "minimum": 32, "maximum": 64, "optional": 1},
    },
    "pve-qemu-sev-fmt": {
        "type": {"type": "string", "default_key": 1, "enum": ["std", "es", "snp"]},
        **{key: _BOOLEAN for key in ("no-debug", "no-key-sharing", "allow-smt", "kernel-hashes")},
    },
    "pve-qemu-tdx-fmt": {
        "type": {"type": "string", "default_key": 1, "enum": ["tdx"]},
        "attestation": _BOOLEAN,
        "vsock-cid": {"type": "integer", "minimum": 2, "optional": 1},
        "vsock-port": {"type": "integer", "minimum": 0, "optional": 1},
    },
    "prune-backups": {
        "keep-all": _BOOLEAN,
        **{
            f"keep-{period}": {"type": "integer", "minimum": 0, "optional": 1}
            for period in ("last", "hourly", "daily", "weekly", "monthly", "yearly")
        },
    },
    "backup-performance": {
        "max-workers": {"type": "integer", "minimum": 1, "maximum": 256, "optional": 1},
        "pbs-entries-max": {"type": "integer", "minimum": 1, "optional": 1},
    },
    "backup-fleecing": {
        "enabled": {"type": "boolean", "default_key": 1, "optional": 1},
        "storage": {"type": "string", "format": "pve-storage-id", "optional": 1},
    },
}


def verify(name: str, text: str) -> str | None:
    """What a property string's format says about the values together."""
    return _verify_cpu(text) if name == "pve-vm-cpu-conf" else None


def _verify_cpu(text: str) -> str | None:
    pairs = (part.partition("=") for part in text.split(","))
    parts = {key if equals else "cputype": value if equals else key for key, equals, value in pairs}
    model = parts.get("cputype", "kvm64")
    if not model.startswith("custom-") and model not in CPU_MODELS:
        return f"Built-in cputype '{model}' is not defined (missing 'custom-' prefix?)"
    flags = [flag[1:] for flag in parts.get("flags", "").split(";") if flag]
    if any(flag not in CPU_FLAGS for flag in flags):
        return f"VM-specific CPU flags must be a subset of: {', '.join(CPU_FLAGS)}"
    return None


def _boot_device(text: str) -> str | None:
    bus = re.fullmatch(r"(ide|sata|scsi|virtio|net|usb|hostpci)(\d+)", text)
    limits = {"ide": 4, "sata": 6, "scsi": 31, "virtio": 16, "net": 32, "usb": 14, "hostpci": 16}
    return None if bus and int(bus[2]) < limits[bus[1]] else f"invalid boot device '{text}'"


def _privilege(text: str) -> str | None:
    from . import privileges

    return None if text in privileges.ALL else f"invalid privilege '{text}'"


_DAYS = "|".join(day.lower() for day in (*calendar.day_abbr, *calendar.day_name))
_TIME = r"(\d|\*|/|\.\.|,|-|:| )*"
_SPECIAL = ("minutely", "hourly", "daily", "monthly", "yearly", "quarterly", "semiannually", "annually", "weekly")
_EVENT = re.compile(rf"((?:{_DAYS})(?:(?:,|\.\.)(?:{_DAYS}))*)?\s*{_TIME}", re.I)


def _calendar_event(text: str) -> str | None:
    if text.strip() in _SPECIAL or (text.strip() and _EVENT.fullmatch(text.strip())):
        return None
    return f"invalid calendar event '{text}' - unable to parse calendar event at '{text}' - Context(\"weekday\")\n\n"


def _timezone(text: str) -> str | None:
    known = text in ("host", "UTC") or text in zoneinfo.available_timezones()
    return None if known else f"invalid time zone '{text}'"


def _device(text: str) -> str | None:
    return None if text.startswith("/dev/") else f"{text} is not a valid device path"


def _task_status(text: str) -> str | None:
    return None if text in ("ok", "error", "warning", "unknown") else f"invalid status '{text}'"


def _ports(icmp: bool) -> t.Callable[[str], str | None]:
    return lambda text: _said(lambda: firewall_rules.check_ports(text, icmp))


def _said(check: t.Callable[[], t.Any]) -> str | None:
    try:
        check()
    except firewall_rules.Invalid as error:
        return str(error)
    return None


_PROTOCOLS = frozenset(
    """tcp udp icmp igmp ggp ipencap st egp igp pup hmp xns-idp rdp iso-tp4 dccp xtp ddp idpr-cmtp ipv6 ipv6-route
    ipv6-frag idrp rsvp gre esp ah skip ipv6-icmp icmpv6 ipv6-nonxt ipv6-opts vmtp eigrp ospf ax.25 ipip etherip encap
    pim ipcomp vrrp l2tp isis sctp fc mobility-header udplite mpls-in-ip manet hip shim6 wesp rohc""".split()
)


def _protocol(text: str) -> str | None:
    if not text or text in _PROTOCOLS or (text.isdigit() and int(text) <= 255):
        return None
    return f"unknown protocol '{text}'"


def _firewall_address(text: str) -> str | None:
    return _said(lambda: firewall_rules.check_addresses(text))


def _location(text: str) -> str | None:
    return None if text.startswith("/") else "value does not look like a valid absolute path"


_CONTENTS = ("images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none")


def _container_resolver(text: str) -> str | None:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None if text == "host" else "value does not look like a valid IP address"
    return None


def _matching(pattern: str, text: str) -> t.Callable[[str], str | None]:
    return lambda value: None if re.fullmatch(pattern, value) else text


_HA_RESOURCE = "value does not look like a valid ha resource id"

CHECKS: dict[str, t.Callable[[str], str | None]] = {
    "pve-qm-bootdev": _boot_device,
    "pve-priv": _privilege,
    "pve-calendar-event": _calendar_event,
    "pve-ct-timezone": _timezone,
    "pve-lxc-dev-string": _device,
    "pve-task-status-type": _task_status,
    "pve-ha-resource-id": _matching(r"[a-z]+:\S+", _HA_RESOURCE),
    "pve-ha-resource-or-vm-id": _matching(r"[a-z]+:\S+|\d+", _HA_RESOURCE),
    "pve-storage-path-in-property-string": _matching(
        r"/[^;,=()]+.*",
        "Value does not look like a valid absolute path. These symbols are currently not allowed in path: ;,=()",
    ),
    "mac-prefix": _matching(
        r"(?i)[a-f0-9][02468ace](?::[a-f0-9]{2}){0,2}(?::[a-f0-9]?)?", "value is not a valid unicast MAC address prefix"
    ),
    "pve-ha-node": _matching(
        r"[a-zA-Z0-9]([a-zA-Z0-9\-]*[a-zA-Z0-9])?(:\d+)?", "value does not look like a valid ha node"
    ),
    "pve-fw-dport-spec": _ports(True),
    "pve-fw-sport-spec": _ports(False),
    "pve-fw-protocol-spec": _protocol,
    "pve-fw-addr-spec": _firewall_address,
    "pve-storage-content": lambda text: None if text in _CONTENTS else f"invalid content type '{text}'",
    "lxc-ip-with-ll-iface": _container_resolver,
    "pve-qm-bootdisk": lambda text: None,
}


def register_from_schema(properties: t.Mapping[str, t.Any]) -> None:
    """``pve-qm-ide`` (of the alias ``cdrom``) is what the description spells out at ``ide[n]``."""
    PROPERTY_STRINGS["pve-qm-ide"] = properties["ide[n]"]["format"]
