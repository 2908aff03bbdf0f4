# SPDX-License-Identifier: GPL-3.0-or-later
"""Random parts of machine configs, of what people write into patches: a table of paths and what may stand there."""

from __future__ import annotations

import random
import typing as t

Json = dict[str, t.Any]
Make = t.Callable[[random.Random], t.Any]


def one_of(*options: t.Any) -> Make:
    return lambda chance: chance.choice(options)


def some_of(*options: t.Any, most: int = 3) -> Make:
    return lambda chance: chance.sample(options, chance.randint(1, min(most, len(options))))


def mapping(keys: t.Sequence[str], make: Make) -> Make:
    return lambda chance: {key: make(chance) for key in chance.sample(keys, chance.randint(1, len(keys)))}


def listed(make: Make, most: int = 3) -> Make:
    return lambda chance: [make(chance) for _ in range(chance.randint(1, most))]


def record(**fields: Make) -> Make:
    """Each field is there or not; the first always is."""
    first = next(iter(fields))
    return lambda chance: {
        name: make(chance) for name, make in fields.items() if name == first or chance.random() < 0.5
    }


FLAG = one_of(True, False)
WORD = one_of("a", "b", "c")
TEXT = one_of("x", "y y", "1", "true", "ä", "a: b", "")
IMAGE = one_of("example.org/one:v1.36.3", "example.org/two@sha256:" + "0" * 64)
SUBNET = one_of("10.1.0.0/16", "10.2.0.0/16", "192.168.7.0/24", "fd00::/64")
ADDRESS = one_of("10.0.0.7", "10.0.0.8", "192.168.30.9", "fd00::7")
ARGUMENTS = mapping(("v", "feature-gates", "bind-address"), one_of("2", "A=true,B=false", "0.0.0.0"))
MOUNT = record(
    destination=one_of("/var/mnt", "/var/lib/x"),
    type=one_of("bind"),
    source=one_of("/var/mnt", "/dev/shm"),
    options=some_of("bind", "rshared", "rw", "ro"),
)
VLAN = record(
    vlanId=one_of(10, 20, 30), addresses=some_of("10.1.0.2/24", "10.2.0.2/24"), dhcp=FLAG, mtu=one_of(1500, 9000)
)
INTERFACE = record(
    interface=one_of("eth0", "eth1", "bond0"),
    addresses=some_of("10.0.0.2/24", "10.0.0.3/24"),
    dhcp=FLAG,
    mtu=one_of(1400, 9000),
    routes=listed(record(network=one_of("0.0.0.0/0", "10.9.0.0/16"), gateway=ADDRESS, metric=one_of(100, 1024)), 2),
    vlans=listed(VLAN, 2),
    vip=record(ip=ADDRESS),
)  # fmt: skip
SELECTED = record(
    deviceSelector=record(hardwareAddr=one_of("02:00:00:*", "02:00:00:00:00:01"), driver=one_of("virtio_net")),
    addresses=some_of("10.0.0.2/24"),
    dhcp=FLAG,
)
PLUGIN = record(
    name=one_of("PodSecurity", "Other"),
    configuration=record(apiVersion=one_of("x/v1"), kind=one_of("Thing"), defaults=mapping(("enforce", "audit"), WORD)),
)
FILE = record(
    path=one_of("/var/etc/a", "/etc/cri/conf.d/20-customization.part"), content=TEXT, permissions=one_of(0o644, 0o600),
    op=one_of("create", "overwrite", "append"),
)  # fmt: skip
POLICY = record(
    apiVersion=one_of("audit.k8s.io/v1"), kind=one_of("Policy"),
    rules=listed(record(level=one_of("None", "Metadata", "RequestResponse")), 2),
)  # fmt: skip

#: Paths of the main document that any machine may have.
ANY: dict[str, Make] = {
    "debug": FLAG,
    "machine.token": one_of("aaaaaa.bbbbbbbbbbbbbbbb"),
    "machine.certSANs": some_of("a.example.org", "10.0.0.9", "b.example.org"),
    "machine.sysctls": mapping(("vm.swappiness", "net.core.rmem_max", "kernel.panic"), one_of("1", "10", "")),
    "machine.sysfs": mapping(("devices.system.cpu.cpu0.cpufreq",), WORD),
    "machine.nodeLabels": mapping(("zone", "example.org/disk", "rack"), one_of("a", "b", "")),
    "machine.nodeAnnotations": mapping(("note", "example.org/x"), TEXT),
    "machine.nodeTaints": mapping(("dedicated", "gpu"), one_of("x:NoSchedule", "NoExecute", ":PreferNoSchedule")),
    "machine.install.disk": one_of("/dev/sda", "/dev/vda", "/dev/nvme0n1"),
    "machine.install.image": IMAGE,
    "machine.install.wipe": FLAG,
    "machine.install.extraKernelArgs": some_of("quiet", "net.ifnames=0", "console=ttyS0"),
    "machine.install.diskSelector": record(size=one_of(">= 100GB", "< 1TB"), type=one_of("ssd", "nvme"), model=WORD),
    "machine.kubelet.image": IMAGE,
    "machine.kubelet.extraArgs": ARGUMENTS,
    "machine.kubelet.clusterDNS": some_of("10.96.0.10", "169.254.2.53"),
    "machine.kubelet.extraMounts": listed(MOUNT, 2),
    "machine.kubelet.nodeIP": record(validSubnets=some_of("10.0.0.0/8", "!10.9.0.0/16")),
    "machine.kubelet.extraConfig": mapping(("maxPods", "serializeImagePulls"), one_of(5, 110, True, False)),
    "machine.kubelet.skipNodeRegistration": FLAG,
    "machine.network.nameservers": some_of("1.1.1.1", "9.9.9.9", "192.168.30.45"),
    "machine.network.interfaces": listed(INTERFACE, 2),
    "machine.network.kubespan": record(enabled=FLAG, allowDownPeerBypass=FLAG, mtu=one_of(1420)),
    "machine.network.extraHostEntries": listed(record(ip=ADDRESS, aliases=some_of("a", "b.example.org")), 2),
    "machine.time.servers": some_of("time.cloudflare.com", "pool.ntp.org"),
    "machine.time.disabled": FLAG,
    "machine.kernel.modules": listed(record(name=one_of("br_netfilter", "nvidia"), parameters=some_of("a=1", "b")), 2),
    "machine.files": listed(FILE, 2),
    "machine.features.rbac": FLAG,
    "machine.features.hostDNS.forwardKubeDNSToHost": FLAG,
    "machine.features.kubePrism": record(enabled=FLAG, port=one_of(7445, 7000)),
    "machine.features.kubernetesTalosAPIAccess": record(
        enabled=FLAG, allowedRoles=some_of("os:reader", "os:admin"), allowedKubernetesNamespaces=some_of("kube-system", "a"),
    ),
    "machine.registries.mirrors": mapping(
        ("docker.io", "ghcr.io"), record(endpoints=some_of("https://a.example.org", "http://b"), overridePath=FLAG)
    ),
    "machine.registries.config": mapping(
        ("a.example.org",), record(auth=record(username=WORD, password=WORD), tls=record(insecureSkipVerify=FLAG))
    ),
    "machine.udev.rules": some_of('SUBSYSTEM=="drm"', "b"),
    "machine.logging.destinations": listed(record(endpoint=one_of("udp://10.0.0.1:514"), format=one_of("json_lines")), 1),
    "machine.seccompProfiles": listed(record(name=one_of("a.json", "b.json"), value=mapping(("defaultAction",), WORD)), 1),
    "machine.systemDiskEncryption.state": record(
        provider=one_of("luks2"), keys=listed(record(slot=one_of(0), nodeID=one_of({})), 1)
    ),
    "cluster.clusterName": one_of("one", "two"),
    "cluster.controlPlane.endpoint": one_of("https://10.0.0.1:6443", "https://k8s.example.org"),
    "cluster.network.dnsDomain": one_of("cluster.local", "lab.internal"),
    "cluster.network.podSubnets": listed(SUBNET, 2),
    "cluster.network.serviceSubnets": listed(SUBNET, 2),
    "cluster.network.cni": record(name=one_of("none", "flannel", "custom"), urls=some_of("https://a.example.org/x.yaml")),
    "cluster.discovery.enabled": FLAG,
    "cluster.discovery.registries.service.disabled": FLAG,
}  # fmt: skip
#: Those of control planes only.
CONTROL: dict[str, Make] = {
    "cluster.apiServer.image": IMAGE,
    "cluster.apiServer.extraArgs": ARGUMENTS,
    "cluster.apiServer.certSANs": some_of("c.example.org", "10.0.0.10"),
    "cluster.apiServer.extraVolumes": listed(record(hostPath=one_of("/a"), mountPath=one_of("/b"), readonly=FLAG), 2),
    "cluster.apiServer.env": mapping(("A", "HTTP_PROXY"), TEXT),
    "cluster.apiServer.admissionControl": listed(PLUGIN, 2),
    "cluster.apiServer.auditPolicy": POLICY,
    "cluster.apiServer.resources": record(requests=mapping(("cpu", "memory"), one_of("1", "2Gi", "100m"))),
    "cluster.controllerManager.extraArgs": ARGUMENTS,
    "cluster.scheduler.extraArgs": ARGUMENTS,
    "cluster.scheduler.config": record(
        apiVersion=one_of("kubescheduler.config.k8s.io/v1"), profiles=listed(record(name=WORD))
    ),
    "cluster.proxy.disabled": FLAG,
    "cluster.proxy.mode": one_of("ipvs", "nftables"),
    "cluster.proxy.extraArgs": ARGUMENTS,
    "cluster.etcd.extraArgs": ARGUMENTS,
    "cluster.etcd.advertisedSubnets": listed(SUBNET, 2),
    "cluster.coreDNS.disabled": FLAG,
    "cluster.externalCloudProvider": record(enabled=FLAG, manifests=some_of("https://a.example.org/m.yaml")),
    "cluster.extraManifests": some_of("https://a.example.org/1.yaml", "https://a.example.org/2.yaml"),
    "cluster.extraManifestHeaders": mapping(("Token", "X-Y"), TEXT),
    "cluster.inlineManifests": listed(record(name=one_of("one", "two"), contents=TEXT), 2),
    "cluster.adminKubeconfig.certLifetime": one_of("8760h0m0s", "1h0m0s"),
    "cluster.allowSchedulingOnControlPlanes": FLAG,
}
#: Documents beside the main one, by kind.
DOCUMENTS: dict[str, Make] = {
    "HostnameConfig": record(hostname=one_of("a", "b.example.org"), auto=one_of("off")),
    "ExtensionServiceConfig": record(
        name=one_of("nut-client", "tailscale"), environment=some_of("A=1", "B=2"),
        configFiles=listed(record(mountPath=one_of("/etc/a", "/etc/b"), content=TEXT), 2),
    ),
    "KmsgLogConfig": record(name=one_of("remote"), url=one_of("tcp://10.0.0.1:5044")),
    "WatchdogTimerConfig": record(device=one_of("/dev/watchdog0"), timeout=one_of("2m0s", "1m0s")),
    "NetworkDefaultActionConfig": record(ingress=one_of("accept", "block")),
    "NetworkRuleConfig": record(
        name=one_of("ssh", "api"), portSelector=record(ports=some_of(22, "50000-50001"), protocol=one_of("tcp", "udp")),
        ingress=listed(record(subnet=SUBNET), 2),
    ),
    "VolumeConfig": record(
        name=one_of("EPHEMERAL", "IMAGECACHE"),
        provisioning=record(diskSelector=record(match=one_of("disk.transport == 'nvme'")), maxSize=one_of("50GiB"), grow=FLAG),
    ),
    "UserVolumeConfig": record(
        name=one_of("data", "db"),
        provisioning=record(diskSelector=record(match=one_of("!system_disk")), minSize=one_of("1GiB")),
        filesystem=record(type=one_of("xfs", "ext4")),
    ),
    "TrustedRootsConfig": record(name=one_of("own-ca"), certificates=TEXT),
    "EthernetConfig": record(name=one_of("eth0"), rings=record(rx=one_of(16, 32)), features=mapping(("tx-checksum-ipv4",), FLAG)),
    "ResolverConfig": record(nameservers=listed(record(address=ADDRESS), 2), searchDomains=record(domains=some_of("a.example.org"))),
    "TimeSyncConfig": record(enabled=FLAG, ntp=record(servers=some_of("a.example.org", "b.example.org"))),
    "OOMConfig": record(triggerExpression=one_of("true"), sampleInterval=one_of("100ms")),
    "LinkConfig": record(name=one_of("eth0", "eth1"), up=FLAG, mtu=one_of(1400), addresses=listed(record(address=one_of("10.0.0.2/24")), 2)),
}  # fmt: skip


def put(document: Json, path: str, value: t.Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
        if not isinstance(document, dict):
            return
    document[last] = value


def main_patch(chance: random.Random, machine_type: str, most: int = 5) -> Json:
    words = ANY | (CONTROL if machine_type == "controlplane" else {})
    patch: Json = {}
    for path in chance.sample(sorted(words), chance.randint(1, most)):
        put(patch, path, words[path](chance))
    return patch


def document_patch(chance: random.Random) -> Json:
    kind = chance.choice(sorted(DOCUMENTS))
    return {"apiVersion": "v1alpha1", "kind": kind, **DOCUMENTS[kind](chance)}


def deletion(chance: random.Random, config: t.Sequence[Json]) -> Json:
    """A patch that deletes something that is there, mostly: a key, or a document."""
    others = [document for document in config if document.get("kind")]
    if others and chance.random() < 0.3:
        document = chance.choice(others)
        named = {key: document[key] for key in ("apiVersion", "kind", "name") if key in document}
        return {**named, "$patch": "delete"}
    document = next(document for document in config if not document.get("kind"))
    path: list[str] = []
    while isinstance(document, dict) and document and (len(path) < 2 or chance.random() < 0.6):
        path.append(chance.choice(sorted(document)))
        document = document[path[-1]]
    if chance.random() < 0.1:
        path[-1] = "notThere"
    patch: Json = {}
    put(patch, ".".join(path), {"$patch": "delete"})
    return patch
