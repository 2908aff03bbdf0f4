# SPDX-License-Identifier: GPL-3.0-or-later
"""Machine configs with random damage: what people get wrong, and what nobody would write. Tables of paths and values."""

from __future__ import annotations

import random
import typing as t

from patch_words import FLAG, Json, Make, listed, one_of, put, record, some_of

_URL = one_of(
    "not a url",
    "https://",
    "ftp://a",
    "https://a:70000",
    "https://fd00::1:6443",
    "https://a b",
    "",
    "https://[fd00::1]",
)
_SUBNETS = some_of("10.0.0.0/8", "10.0.0.0/99", "!10.1.0.0/16", "!x", "10.0.0.1", "fd00::/64", "")
_ADDRESSES = some_of("10.0.0.1/24", "10.0.0.300/24", "10.0.0.1", "x", "fd00::5/64", "10.0.0.1/33", "")
_LABELS = one_of("a", "bad label!", "x" * 64, "-a", "a-", "", "ä", "a.b_c-d")
_KEYS = ("zone", "bad label!", "example.org/x", "/x", "a/b/c", "EXAMPLE/x", "x" * 64, "-a", "exa_mple/x", "")
_TAINTS = one_of(
    "x:NoSchedule", "NoSchedule", "x:Never", "x", "", "a:b:NoExecute", "bad value!:NoSchedule", ":PreferNoSchedule"
)
_DAMAGED_ROUTE = record(
    network=one_of("0.0.0.0/0", "10.0.0.0", "x", ""),
    gateway=one_of("10.0.0.1", "10.0.0.1/24", "x", ""),
    source=one_of("10.0.0.2", "y"),
)
_DAMAGED_INTERFACE = record(
    mtu=one_of(1500),
    interface=one_of("eth0", "eth1", "bond0", ""),
    deviceSelector=one_of({}, {"driver": "virtio_net"}, {"hardwareAddr": ""}),
    addresses=_ADDRESSES,
    cidr=one_of("10.0.0.1/24", "x", "10.0.0.1"),
    routes=listed(_DAMAGED_ROUTE, 3),
    dhcp=FLAG,
    ignore=one_of(False, False, False, True),
    vip=record(ip=one_of("10.0.0.9", "300.1.1.1", "", "fd00::9")),
    vlans=listed(record(vlanId=one_of(10, 20, 5000), addresses=_ADDRESSES, cidr=one_of("10.0.0.1/24", "x", "")), 2),
    bond=record(
        mode=one_of("active-backup", "802.3ad", "balance-rr", "fast", ""), interfaces=some_of("eth0", "eth1", "eth2"),
        miimon=one_of(0, 100), updelay=one_of(0, 50, 200), downdelay=one_of(0, 300), lacpRate=one_of("slow", "fast", "x"),
        xmitHashPolicy=one_of("layer2", "layer9"), primary=one_of("eth0"), arpValidate=one_of("none", "all", "x"),
        arpInterval=one_of(0, 5), packetsPerSlave=one_of(1, 2), tlbDynamicLb=one_of(0, 1), adActorSysPrio=one_of(0, 7),
        adUserPortKey=one_of(0, 9), adSelect=one_of("stable", "x"), failOverMac=one_of("none", "y"),
        primaryReselect=one_of("always", "z"), arpAllTargets=one_of("any", "w"), arpIPTarget=some_of("10.0.0.1"),
        adActorSystem=one_of("00:00:00:00:00:01"), deviceSelectors=one_of([{"driver": "x"}]),
    ),
    bridge=record(interfaces=some_of("eth0", "eth1"), stp=record(enabled=FLAG)),
    wireguard=record(
        privateKey=one_of("a" * 43 + "=", "x", "aGVsbG8=", "!"),
        peers=listed(
            record(publicKey=one_of("b" * 43 + "=", "y"), endpoint=one_of("10.0.0.1:51820", "10.0.0.1", "a"), allowedIPs=_ADDRESSES), 2
        ),
    ),
)  # fmt: skip


def _some_keys(keys: t.Sequence[str], make: Make) -> Make:
    return lambda chance: {key: make(chance) for key in chance.sample(keys, chance.randint(1, 3))}


#: Paths of the main document, with values of which most are wrong in one way or another.
DAMAGE: dict[str, Make] = {
    "version": one_of("v1beta1", "", "1"),
    "persist": one_of(False, True),
    "machine.type": one_of("master", "worker", "controlplane", "init", "join", "", "Worker"),
    "machine.token": one_of("", "x", "aaaaaa.bbbbbbbbbbbbbbbb"),
    "machine.ca": one_of({}, {"crt": "aGVsbG8="}, {"crt": "!", "key": ""}, {"crt": "", "key": "aGVsbG8="}, None),
    "machine.ca.key": one_of("", "!", "aGVsbG8=", "aGVsbG8"),
    "machine.acceptedCAs": one_of([], [{"crt": "aGVsbG8="}], [{"crt": "!"}]),
    "machine.install": one_of(None, {}, {"disk": ""}, {"diskSelector": {}}, {"diskSelector": {"size": "x GB"}}),
    "machine.install.disk": one_of("", "/dev/sda"),
    "machine.install.diskSelector": record(size=one_of(">= 100GB", "big", "== 1TB", "100GB"), type=one_of("ssd", "tape"), busPath=one_of("/pci*")),
    "machine.install.extraKernelArgs": some_of("quiet", "console=ttyS0"),
    "machine.install.extensions": one_of([{"image": "a"}], [{"image": "a"}, {"image": "a"}]),
    "machine.features.hostDNS": record(enabled=FLAG, forwardKubeDNSToHost=FLAG),
    "machine.features.kubernetesTalosAPIAccess": record(enabled=FLAG, allowedRoles=some_of("os:reader", "os:nobody", "admin", "")),
    "machine.features.nodeAddressSortAlgorithm": one_of("v1", "v2", "v3", "V2"),
    "machine.network.interfaces": listed(_DAMAGED_INTERFACE, 3),
    "machine.network.hostname": one_of("a", "bad_host name", ""),
    "machine.network.nameservers": some_of("1.1.1.1", "x", ""),
    "machine.network.kubespan": record(
        enabled=FLAG, mtu=one_of(1420, 1000, 0),
        filters=record(endpoints=_SUBNETS, excludeAdvertisedNetworks=_SUBNETS),
    ),
    "machine.disks": one_of(
        [{"device": "/dev/sdb", "partitions": [{"mountpoint": "/var/a"}, {"mountpoint": "/var/b"}]}],
        [{"device": "/dev/sdb", "partitions": [{"mountpoint": "/var/a", "size": "10GB"}, {"mountpoint": "/var/b"}]}],
        [{"device": "/dev/sdb", "partitions": [{"mountpoint": "/var/a", "size": "ten"}]}],
        [None],
    ),
    "machine.kubelet.nodeIP.validSubnets": _SUBNETS,
    "machine.kubelet.extraConfig": one_of({"port": 1}, {"maxPods": 5}, {"staticPodPath": "/x", "authentication": {}}, {"kind": "x"}),
    "machine.kubelet.extraArgs": one_of({"v": ["1", "2"]}, {"v": {"a": "b"}}, {"v": True}, {"v": 2}, {"v": None}),
    "machine.systemDiskEncryption": one_of(
        {"state": {"provider": "luks2"}}, {"state": {"keys": [{"slot": 0}]}}, {"ephemeral": {"keys": [{"slot": 1, "nodeID": {}}, {"slot": 1, "nodeID": {}}]}},
        {"state": {"keys": [{"slot": 0, "static": {"passphrase": "x"}}]}, "ephemeral": {"keys": []}},
    ),
    "machine.logging.destinations": listed(
        record(format=one_of("json_lines", "text", ""), endpoint=one_of("udp://10.0.0.1:514", "http://a:1", "udp://", "x", "")), 2
    ),
    "machine.nodeLabels": _some_keys(_KEYS, _LABELS),
    "machine.nodeAnnotations": _some_keys(_KEYS, one_of("x", "any thing!", "")),
    "machine.nodeTaints": _some_keys(_KEYS, _TAINTS),
    "machine.sysctls": one_of({"a": 1}, {"a": True}, {"a": None}, {"a": ["1"]}, {"a": 1.5}),
    "machine.registries.mirrors": one_of({"docker.io": None}, {"docker.io": {"endpoints": ["x"]}}, {"docker.io": {"endpoints": "x"}}),
    "machine.registries.config": one_of({"a": None}, {"a": {"auth": None}}, {"a": {"tls": {"ca": "!"}}}),
    "machine.files": listed(record(path=one_of("/var/x", ""), permissions=one_of(0o644, "rw", "0o600", -1), op=one_of("create", "x")), 2),
    "machine.time.bootTimeout": one_of("2m0s", "2", 2, "soon"),
    "machine.baseRuntimeSpecOverrides": one_of({"process": {"rlimits": []}}, {"process": "x"}, {"ociVersion": 1}),
    "machine.udev.rules": some_of("a"),
    "cluster.id": one_of("", "x"),
    "cluster.secret": one_of("", "x"),
    "cluster.token": one_of("", "x"),
    "cluster.controlPlane.endpoint": _URL,
    "cluster.controlPlane": one_of(None, {}, {"localAPIServerPort": 6443}),
    "cluster.clusterName": one_of("", "a b", "x"),
    "cluster.network.dnsDomain": one_of("bad_domain!", "cluster.local", "a..b", "x" * 64, "-a", "cluster.local.", "_x", ""),
    "cluster.network.podSubnets": _SUBNETS,
    "cluster.network.serviceSubnets": _SUBNETS,
    "cluster.network.cni": record(
        name=one_of("calico", "none", "flannel", "custom", ""), urls=some_of("https://a.example.org/x.yaml", "x", "https://a:70000/"),
        flannel=record(extraArgs=some_of("--a"), kubeNetworkPoliciesEnabled=FLAG),
    ),
    "cluster.ca": one_of({}, {"crt": "aGVsbG8="}, {"crt": "aGVsbG8=", "key": "aGVsbG8="}, {"crt": "!"}, None),
    "cluster.etcd": one_of(
        {}, {"ca": {"crt": "aGVsbG8=", "key": "aGVsbG8="}}, {"subnet": "x", "ca": {"crt": "aGVsbG8="}},
        {"ca": {"crt": "aGVsbG8="}, "subnet": "10.0.0.0/8", "advertisedSubnets": ["10.0.0.0/8"]},
        {"ca": {"crt": "aGVsbG8="}, "advertisedSubnets": ["x", "!y"], "listenSubnets": ["z"]},
    ),
    "cluster.discovery": record(
        enabled=FLAG,
        registries=record(
            service=record(disabled=FLAG, endpoint=one_of("https://discovery.example.org/", "x", "https://a/b", "")),
            kubernetes=record(disabled=FLAG),
        ),
    ),
    "cluster.externalCloudProvider": record(enabled=FLAG, manifests=some_of("https://a.example.org/m.yaml", "x", "https://a:0/")),
    "cluster.inlineManifests": listed(record(name=one_of("one", "one", "two", "", " "), contents=one_of("", "a: b")), 3),
    "cluster.apiServer.resources": record(requests=one_of({"cpu": "1"}, {"gpu": "1"}, {"memory": "1Gi"}), limits=one_of({"storage": "1"}, {"cpu": "2"})),
    "cluster.apiServer.extraArgs": one_of({"authorization-mode": "Node"}, {"authorization-webhook-version": "v1"}, {"v": "2"}),
    "cluster.apiServer.authorizationConfig": one_of(
        [{"type": "Node", "name": "node"}], [{"type": "Webhook", "name": "w", "webhook": {}}], [{"type": "Node"}], [{"name": "x"}], [{"type": "Other", "name": "o"}],
        [{"type": "RBAC", "name": "rbac"}, {"type": "RBAC", "name": "rbac"}],
    ),
    "cluster.scheduler.resources": record(requests=one_of({"cpu": "1"}, {"gpu": "1"})),
    "cluster.controllerManager.resources": record(limits=one_of({"memory": "x"}, {"disk": "1"})),
    "cluster.scheduler.config": one_of({}, {"apiVersion": "x"}, {"kind": "Y"}),
    "cluster.proxy.mode": one_of("iptables", "x"),
    "cluster.adminKubeconfig.certLifetime": one_of("1h", "1d", 5),
    "cluster.allowSchedulingOnControlPlanes": one_of("yes", "maybe", 1, True),
}  # fmt: skip

_WRONG: tuple[t.Any, ...] = (
    {},
    [],
    {"a": "b"},
    ["a"],
    7,
    -1,
    1.5,
    "text",
    "",
    True,
    None,
    "2026-11-21",
    "0x1f",
    "1e3",
    "~",
)


def wrong_value(chance: random.Random, config: Json) -> tuple[t.Any, ...]:
    path = chance.choice(sorted(DAMAGE))
    put(config, path, DAMAGE[path](chance))
    return tuple(path.split("."))


def paths(value: t.Any, path: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    """Every place in a document but its root."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths(inner, (*path, key))


def _parent(config: t.Any, path: tuple[t.Any, ...]) -> t.Any:
    for key in path[:-1]:
        config = config[key]
    return config


def wrong_kind(chance: random.Random, config: Json) -> tuple[t.Any, ...]:
    path = chance.choice(list(paths(config)))
    _parent(config, path)[path[-1]] = chance.choice(_WRONG)
    return path


def missing(chance: random.Random, config: Json) -> tuple[t.Any, ...]:
    path = chance.choice(list(paths(config)))
    del _parent(config, path)[path[-1]]
    return path


def unknown_key(chance: random.Random, config: Json) -> tuple[t.Any, ...]:
    mappings = [path for path in paths(config) if isinstance(_parent(config, path), dict)]
    path = chance.choice(mappings)
    name = chance.choice(["imagee", "x", "Type", str(path[-1]) + "s"])
    _parent(config, path)[name] = chance.choice(_WRONG)
    return (*path[:-1], name)


_KINDS = (wrong_value, wrong_value, wrong_value, wrong_value, wrong_kind, missing, unknown_key)


def damage(chance: random.Random, documents: list[Json], most: int = 3) -> list[tuple[t.Any, ...]]:
    """One to ``most`` kinds of damage to the main document, or to another one of the config; the damaged places."""
    places = []
    for _ in range(chance.randint(1, most)):
        others = [document for document in documents if document.get("kind")]
        main = next(document for document in documents if not document.get("kind"))
        kind = chance.choice(_KINDS)
        try:
            places.append(
                kind(chance, main if chance.random() < 0.9 or kind is wrong_value else chance.choice(others or [main]))
            )
        except (KeyError, IndexError, TypeError, AttributeError):
            continue  # the place went with the damage before
    return places
