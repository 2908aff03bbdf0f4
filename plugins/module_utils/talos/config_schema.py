# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys that machine configs may have, and the kinds of values, as a table; unknown keys are errors to the node too.

A mapping in the table is a mapping with these keys (``*``: with any), a list with one entry is a list of such, a name is
a kind of scalar. ``any`` is what only the node knows in detail.
"""

from __future__ import annotations

import base64
import difflib
import re
import typing as t

from .identity import MAIN, Document, describe

_PEM = {"crt": "base64", "key": "base64"}
_WORDS: dict[str, t.Any] = {"*": "text"}
_EXTRA_VOLUMES = [{"hostPath": "text", "mountPath": "text", "readonly": "bool"}]
_ARGUMENTS: dict[str, t.Any] = {"*": "argument"}
#: A mapping that Talos hands on as it is.
_FREE: dict[str, t.Any] = {"*": "any"}
_COMPONENT: dict[str, t.Any] = {
    "image": "text",
    "extraArgs": _ARGUMENTS,
    "extraVolumes": _EXTRA_VOLUMES,
    "env": _WORDS,
    "resources": {"requests": _FREE, "limits": _FREE},
}
_ROUTES = [{"network": "text", "gateway": "text", "source": "text", "metric": "int", "mtu": "int"}]
_DHCP_OPTIONS = {"routeMetric": "int", "ipv4": "bool", "ipv6": "bool", "duidv6": "text"}
_VIP = {"ip": "text", "equinixMetal": "any", "hcloud": "any"}
_VLAN = {
    "addresses": ["text"],
    "cidr": "text",
    "routes": _ROUTES,
    "dhcp": "bool",
    "vlanId": "int",
    "mtu": "int",
    "vip": _VIP,
    "dhcpOptions": _DHCP_OPTIONS,
}
_SELECTOR = {
    "busPath": "text",
    "hardwareAddr": "word",
    "permanentAddr": "word",
    "pciID": "text",
    "driver": "text",
    "physical": "bool",
}
_BOND = {
    "interfaces": ["text"],
    "deviceSelectors": [_SELECTOR],
    "arpIPTarget": ["text"],
    **dict.fromkeys(
        ("mode", "xmitHashPolicy", "lacpRate", "adActorSystem", "arpValidate", "arpAllTargets", "primary"), "text"
    ),
    **dict.fromkeys(("primaryReselect", "failOverMac", "adSelect"), "text"),
    **dict.fromkeys(("miimon", "updelay", "downdelay", "arpInterval", "resendIgmp", "minLinks", "lpInterval"), "int"),
    **dict.fromkeys(("packetsPerSlave", "numPeerNotif", "tlbDynamicLb", "allSlavesActive"), "int"),
    **dict.fromkeys(("adActorSysPrio", "adUserPortKey", "peerNotifyDelay"), "int"),
    "useCarrier": "bool",
}
_WIREGUARD = {
    "privateKey": "text",
    "listenPort": "int",
    "firewallMark": "int",
    "peers": [
        {
            "publicKey": "text",
            "endpoint": "text",
            "persistentKeepaliveInterval": "duration",
            "allowedIPs": ["text"],
        }
    ],
}
_INTERFACE = {
    "interface": "text",
    "deviceSelector": _SELECTOR,
    "addresses": ["text"],
    "cidr": "text",
    "routes": _ROUTES,
    "bond": _BOND,
    "bridge": {"interfaces": ["text"], "stp": {"enabled": "bool"}, "vlan": {"vlanFiltering": "bool"}},
    "bridgePort": "any",
    "vlans": [_VLAN],
    "mtu": "int",
    "dhcp": "bool",
    "ignore": "bool",
    "dummy": "bool",
    "dhcpOptions": _DHCP_OPTIONS,
    "wireguard": _WIREGUARD,
    "vip": _VIP,
}
_NETWORK = {
    "hostname": "text",
    "interfaces": [_INTERFACE],
    "nameservers": ["text"],
    "searchDomains": ["text"],
    "disableSearchDomain": "bool",
    "extraHostEntries": [{"ip": "text", "aliases": ["text"]}],
    "kubespan": {
        "enabled": "bool",
        "advertiseKubernetesNetworks": "bool",
        "allowDownPeerBypass": "bool",
        "harvestExtraEndpoints": "bool",
        "mtu": "int",
        "filters": {"endpoints": ["text"], "excludeAdvertisedNetworks": ["text"]},
    },
}
_KUBELET = {
    "image": "text",
    "clusterDNS": ["text"],
    "extraArgs": _ARGUMENTS,
    "extraMounts": [
        {
            **dict.fromkeys(("destination", "type", "source"), "text"),
            "options": ["text"],
            "uidMappings": "any",
            "gidMappings": "any",
        }
    ],
    "extraConfig": _FREE,
    "credentialProviderConfig": _FREE,
    "defaultRuntimeSeccompProfileEnabled": "bool",
    "registerWithFQDN": "bool",
    "nodeIP": {"validSubnets": ["text"]},
    "skipNodeRegistration": "bool",
    "disableManifestsDirectory": "bool",
}
_DISK_SELECTOR = dict.fromkeys(
    ("size", "name", "model", "serial", "modalias", "uuid", "wwid", "type", "busPath"), "text"
)
_INSTALL = {
    "disk": "text",
    "diskSelector": _DISK_SELECTOR,
    "extraKernelArgs": ["text"],
    "image": "text",
    "extensions": [{"image": "text"}],
    "wipe": "bool",
    "legacyBIOSSupport": "bool",
    "grubUseUKICmdline": "bool",
}
_REGISTRY = {
    "tls": {"clientIdentity": _PEM, "ca": "base64", "insecureSkipVerify": "bool"},
    "auth": dict.fromkeys(("username", "password", "auth", "identityToken"), "text"),
}
_MIRROR = {"endpoints": ["text"], "overridePath": "bool", "skipFallback": "bool"}
_FEATURES = {
    "rbac": "bool",
    "stableHostname": "bool",
    "apidCheckExtKeyUsage": "bool",
    "diskQuotaSupport": "bool",
    "kubernetesTalosAPIAccess": {
        "enabled": "bool",
        "allowedRoles": ["text"],
        "allowedKubernetesNamespaces": ["text"],
    },
    "kubePrism": {"enabled": "bool", "port": "int"},
    "hostDNS": {"enabled": "bool", "forwardKubeDNSToHost": "bool", "resolveMemberNames": "bool"},
    "imageCache": {"localEnabled": "bool"},
    "nodeAddressSortAlgorithm": "text",
}
_ENCRYPTION = {
    "provider": "text",
    "keys": [{"static": _FREE, "nodeID": _FREE, "kms": _FREE, "slot": "int", "tpm": _FREE}],
    "cipher": "text",
    "keySize": "int",
    "blockSize": "int",
    "options": ["text"],
}
#: The OCI runtime specification's own keys.
_RUNTIME_SPEC = {
    "ociVersion": "word",
    "process": _FREE,
    "root": _FREE,
    "hostname": "text",
    "domainname": "text",
    "mounts": [_FREE],
    "annotations": _WORDS,
    "linux": _FREE,
    "*": "any",
}
_MACHINE = {
    "type": "text",
    "token": "text",
    "ca": _PEM,
    "acceptedCAs": [_PEM],
    "certSANs": ["text"],
    "controlPlane": {"controllerManager": {"disabled": "bool"}, "scheduler": {"disabled": "bool"}},
    "kubelet": _KUBELET,
    "pods": [_FREE],
    "network": _NETWORK,
    "disks": [{"device": "text", "partitions": [{"size": "size", "mountpoint": "text"}]}],
    "install": _INSTALL,
    "files": [{"content": "text", "permissions": "int", "path": "text", "op": "text"}],
    "env": _WORDS,
    "time": {"disabled": "bool", "servers": ["text"], "bootTimeout": "duration"},
    "sysctls": _WORDS,
    "sysfs": _WORDS,
    "registries": {"mirrors": {"*": _MIRROR}, "config": {"*": _REGISTRY}},
    "systemDiskEncryption": {"state": _ENCRYPTION, "ephemeral": _ENCRYPTION},
    "features": _FEATURES,
    "udev": {"rules": ["text"]},
    "logging": {"destinations": [{"endpoint": "text", "format": "text", "extraTags": _WORDS}]},
    "kernel": {"modules": [{"name": "text", "parameters": ["text"]}]},
    "seccompProfiles": [{"name": "text", "value": _FREE}],
    "baseRuntimeSpecOverrides": _RUNTIME_SPEC,
    "nodeLabels": _WORDS,
    "nodeAnnotations": _WORDS,
    "nodeTaints": _WORDS,
}
_API_SERVER = {
    **_COMPONENT,
    "certSANs": ["text"],
    "disablePodSecurityPolicy": "bool",
    "admissionControl": [{"name": "text", "configuration": _FREE}],
    "auditPolicy": _FREE,
    "authorizationConfig": [{"type": "text", "name": "text", "webhook": _FREE}],
}
_CLUSTER = {
    "id": "text",
    "secret": "text",
    "controlPlane": {"endpoint": "text", "localAPIServerPort": "int"},
    "clusterName": "text",
    "network": {
        "cni": {
            "name": "text",
            "urls": ["text"],
            "flannel": {"extraArgs": ["text"], "kubeNetworkPoliciesEnabled": "bool"},
        },
        "dnsDomain": "text",
        "podSubnets": ["text"],
        "serviceSubnets": ["text"],
    },
    "token": "text",
    "aescbcEncryptionSecret": "text",
    "secretboxEncryptionSecret": "text",
    "ca": _PEM,
    "acceptedCAs": [_PEM],
    "aggregatorCA": _PEM,
    "serviceAccount": {"key": "base64"},
    "apiServer": _API_SERVER,
    "controllerManager": _COMPONENT,
    "proxy": {"disabled": "bool", "image": "text", "mode": "text", "extraArgs": _ARGUMENTS},
    "scheduler": {**_COMPONENT, "config": _FREE},
    "discovery": {
        "enabled": "bool",
        "registries": {"kubernetes": {"disabled": "bool"}, "service": {"disabled": "bool", "endpoint": "text"}},
    },
    "etcd": {
        "image": "text",
        "ca": _PEM,
        "extraArgs": _ARGUMENTS,
        "subnet": "text",
        "advertisedSubnets": ["text"],
        "listenSubnets": ["text"],
    },
    "coreDNS": {"disabled": "bool", "image": "text"},
    "externalCloudProvider": {"enabled": "bool", "manifests": ["text"]},
    "extraManifests": ["text"],
    "extraManifestHeaders": _WORDS,
    "inlineManifests": [{"name": "text", "contents": "text"}],
    "adminKubeconfig": {"certLifetime": "duration"},
    "allowSchedulingOnMasters": "bool",
    "allowSchedulingOnControlPlanes": "bool",
}
MAIN_DOCUMENT: dict[str, t.Any] = {
    "version": "text",
    "debug": "bool",
    "persist": "bool",
    "machine": _MACHINE,
    "cluster": _CLUSTER,
}

#: Kinds of further documents: Talos 1.12, and what 1.13 added. Their content is judged by the node, but for those below.
KINDS: dict[int, frozenset[str]] = {
    12: frozenset(
        [
            "BondConfig",
            "BridgeConfig",
            "DHCPv4Config",
            "DHCPv6Config",
            "DummyLinkConfig",
            "EthernetConfig",
            "EventSinkConfig",
            "ExistingVolumeConfig",
            "ExtensionServiceConfig",
            "HCloudVIPConfig",
            "HostnameConfig",
            "KmsgLogConfig",
            "KubeSpanEndpoints",
            "Layer2VIPConfig",
            "LinkAliasConfig",
            "LinkConfig",
            "NetworkDefaultActionConfig",
            "NetworkRuleConfig",
            "OOMConfig",
            "PCIDriverRebindConfig",
            "RawVolumeConfig",
            "RegistryAuthConfig",
            "RegistryMirrorConfig",
            "RegistryTLSConfig",
            "ResolverConfig",
            "SideroLinkConfig",
            "StaticHostConfig",
            "SwapVolumeConfig",
            "TimeSyncConfig",
            "TrustedRootsConfig",
            "UserVolumeConfig",
            "VLANConfig",
            "VolumeConfig",
            "WatchdogTimerConfig",
            "WireguardConfig",
            "ZswapConfig",
        ]
    ),
}
KINDS[13] = KINDS[12] | frozenset(
    [
        "BlackholeRouteConfig",
        "EnvironmentConfig",
        "ExternalVolumeConfig",
        "ImageVerificationConfig",
        "KubeSpanConfig",
        "RoutingRuleConfig",
        "TCPProbeConfig",
        "VRFConfig",
    ]
)

_OTHER_DOCUMENTS: dict[str, dict[str, t.Any]] = {"HostnameConfig": {"hostname": "text", "auto": "text"}}

#: What a value of each kind may be in Python. Talos turns numbers into text where it wants text; YAML 1.1 makes numbers of
#: words such as 52:54:00:12:34:56, and words of octal numbers such as 0o644.
_SCALARS: dict[str, tuple[type, ...]] = {
    "text": (str, int, float),
    "base64": (str,),
    "word": (str,),
    "int": (int, str),
    "bool": (bool,),
    "argument": (str, int, float, bool, list),
    "duration": (str,),
    "size": (str, int),
}
_NAMES = {
    "text": "text",
    "base64": "text in base64",
    "word": "text (is it in quotes?)",
    "int": "a number from 0",
    "bool": "true or false",
    "argument": "text",
    "duration": "a duration such as 1h30m",
    "size": "a size such as 10GB",
}
SIZE = re.compile(r"\s*(\d[\d,]*\.?\d*|\.\d+)\s*(b?|[kmgtpe]i?b?)\s*", re.IGNORECASE)
_INTEGER = re.compile(r"0o[0-7]+|\d+")
_DURATION = re.compile(r"[-+]?((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+|0")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


#: What a text must look like to be of its kind.
_FORMS: dict[str, t.Callable[[str], bool]] = {
    "base64": _is_base64,
    "int": lambda text: bool(_INTEGER.fullmatch(text)),
    "duration": lambda text: bool(_DURATION.fullmatch(text)),
    "size": lambda text: bool(SIZE.fullmatch(text)),
}


def problems(document: Document) -> t.Iterator[str]:
    """Unknown keys and values of the wrong kind, with their paths."""
    kind = document.get("kind") or MAIN
    if kind == MAIN:
        yield from _check(document, MAIN_DOCUMENT, "")
    elif kind in _OTHER_DOCUMENTS:
        table = {"apiVersion": "text", "kind": "text", **_OTHER_DOCUMENTS[kind]}
        for problem in _check(document, table, ""):
            yield f"{describe(document)}: {problem}"


def is_field(document: Document, path: t.Sequence[str]) -> bool:
    """Whether this is one of a document's own keys, set or not, rather than a key of a free mapping such as sysctls."""
    table: t.Any = MAIN_DOCUMENT if (document.get("kind") or MAIN) == MAIN else None
    for key in path:
        if not isinstance(table, dict) or key not in table:
            return False
        table = table[key]
    return True


def is_whole(document: Document, path: t.Sequence[str]) -> bool:
    """Whether this is a part of what Talos keeps as one: a key with its certificate."""
    table: t.Any = MAIN_DOCUMENT if (document.get("kind") or MAIN) == MAIN else None
    for key in path[:-1]:
        table = table.get(key) if isinstance(table, dict) else None
    return isinstance(table, dict) and table.get(path[-1]) == "base64" and set(table) <= {"crt", "key"}


def _check(value: t.Any, table: t.Any, path: str) -> t.Iterator[str]:
    if value is None or table == "any":
        return
    if isinstance(table, dict):
        yield from _check_mapping(value, table, path)
    elif isinstance(table, list):
        if not isinstance(value, list):
            yield f"{path} is not a list"
            return
        for index, item in enumerate(value):
            yield from _check(item, table[0], f"{path}[{index}]")
    elif not _fits(value, table):
        yield f"{path} is {_shown(value)} and not {_NAMES[table]}"


def _fits(value: t.Any, kind: str) -> bool:
    if not isinstance(value, _SCALARS[kind]) or (isinstance(value, bool) and kind not in ("bool", "argument")):
        return False
    return kind not in _FORMS or _FORMS[kind](str(value))


def _check_mapping(value: t.Any, table: dict[str, t.Any], path: str) -> t.Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path or 'the document'} is not a mapping"
        return
    for key, inner in value.items():
        below = f"{path}.{key}" if path else str(key)
        if key in table or "*" in table:
            yield from _check(inner, table.get(key, table.get("*")), below)
        else:
            near = difflib.get_close_matches(str(key), table, 1)
            yield f"{below} is not known{f' (did you mean {near[0]}?)' if near else ''}"


def _shown(value: t.Any) -> str:
    """A value's kind, and not the value: it may be a secret."""
    names = {dict: "a mapping", list: "a list", bool: "true or false", str: "text", int: "a number"}
    return names.get(type(value), type(value).__name__)
