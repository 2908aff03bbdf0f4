# SPDX-License-Identifier: GPL-3.0-or-later
"""Random documents beside the main one, of all kinds that Talos 1.13 knows: what may stand in a patch of theirs."""

from __future__ import annotations

import random

import patch_words
from patch_words import ADDRESS, FLAG, SUBNET, TEXT, WORD, Json, Make, listed, mapping, one_of, record, some_of

CIDR = one_of("10.0.0.2/24", "10.0.0.3/24", "fd00::2/64")
MAC = one_of("02:00:00:00:00:01", "02:00:00:00:00:02")
LINKS = some_of("eth0", "eth1", "enp0s2")
ROUTE = record(destination=SUBNET, gateway=one_of("10.0.0.1", "fd00::1"), metric=one_of(100, 1024), mtu=one_of(1400))
#: What all links may have.
COMMON: dict[str, Make] = {
    "up": FLAG,
    "mtu": one_of(1400, 9000),
    "addresses": listed(record(address=CIDR, routePriority=one_of(10, 20)), 2),
    "routes": listed(ROUTE, 2),
    "multicast": FLAG,
}
MATCH = record(match=one_of("disk.transport == 'nvme'", "!system_disk", "disk.size > 10u * GiB"))
PROVISIONING = record(diskSelector=MATCH, minSize=one_of("1GiB", "5GB"), maxSize=one_of("50GiB", "25%"), grow=FLAG)
ENCRYPTION = record(
    provider=one_of("luks2"), cipher=one_of("aes-xts-plain64"), options=some_of("no_read_workqueue", "no_write_workqueue"),
    keys=listed(record(slot=one_of(0, 1), nodeID=one_of({}), lockToState=FLAG), 2),
)  # fmt: skip
DHCP = record(
    name=one_of("eth0", "eth1"),
    routeMetric=one_of(100, 2048),
    ignoreHostname=FLAG,
    clientIdentifier=one_of("mac", "none"),
)
#: Those of 1.13 and 1.12 that have no draw among the words of patches.
MORE: dict[str, Make] = {
    "BlackholeRouteConfig": record(name=one_of("10.9.0.0/16", "10.8.0.0/16"), metric=one_of(10, 20)),
    "BondConfig": record(
        name=one_of("bond0", "bond1"), links=LINKS, bondMode=one_of("802.3ad", "active-backup"), miimon=one_of(100, 200),
        xmitHashPolicy=one_of("layer3+4"), lacpRate=one_of("fast", "slow"), hardwareAddr=MAC, updelay=one_of(200), **COMMON,
    ),
    "BridgeConfig": record(
        name=one_of("br0"), links=LINKS, stp=record(enabled=FLAG), vlan=record(filtering=FLAG), hardwareAddr=MAC, **COMMON
    ),
    "DHCPv4Config": DHCP,
    "DHCPv6Config": DHCP,
    "DummyLinkConfig": record(name=one_of("dummy0", "dummy1"), hardwareAddr=MAC, **COMMON),
    "EnvironmentConfig": record(variables=mapping(("HTTP_PROXY", "NO_PROXY", "A"), one_of("a", "http://10.0.0.1:3128", "x y"))),
    "EventSinkConfig": record(endpoint=one_of("10.0.0.1:8080", "10.0.0.2:8080")),
    "ExistingVolumeConfig": record(
        name=one_of("old"), discovery=record(volumeSelector=record(match=one_of("volume.name == 'xfs'"))),
        mount=record(readOnly=FLAG, secure=FLAG),
    ),
    "ExternalVolumeConfig": record(
        name=one_of("share"), filesystemType=one_of("virtiofs"), mount=record(readOnly=FLAG, virtiofs=record(tag=WORD))
    ),
    "HCloudVIPConfig": record(name=one_of("10.0.0.9"), link=one_of("eth0", "eth1"), apiToken=WORD),
    "ImageVerificationConfig": record(
        rules=listed(
            record(image=one_of("docker.io/*", "ghcr.io/a/*"), skip=FLAG, keyless=record(issuer=one_of("https://a.example.org"), subject=WORD)), 3
        )
    ),
    "KubeSpanConfig": record(
        enabled=FLAG, advertiseKubernetesNetworks=FLAG, mtu=one_of(1420, 1380),
        filters=record(endpoints=some_of("10.0.0.0/8", "!10.1.0.0/16"), excludeAdvertisedNetworks=listed(SUBNET, 2)),
    ),
    "KubeSpanEndpoints": record(extraAnnouncedEndpoints=some_of("10.0.0.1:51820", "[fd00::1]:51820")),
    "Layer2VIPConfig": record(name=one_of("10.0.0.9", "fd00::9"), link=one_of("eth0", "eth1")),
    "LinkAliasConfig": record(name=one_of("net0", "net1"), selector=record(match=one_of("link.driver == 'virtio_net'"))),
    "LinkConfig": record(name=one_of("eth0", "eth1"), **COMMON),
    "PCIDriverRebindConfig": record(name=one_of("0000:04:00.0"), targetDriver=one_of("vfio-pci", "uio_pci_generic")),
    "RawVolumeConfig": record(name=one_of("raw"), provisioning=PROVISIONING, encryption=ENCRYPTION),
    "RegistryAuthConfig": record(name=one_of("a.example.org"), username=WORD, password=WORD),
    "RegistryMirrorConfig": record(
        name=one_of("docker.io", "ghcr.io"), skipFallback=FLAG,
        endpoints=listed(record(url=one_of("https://a.example.org/", "http://b/v2/x"), overridePath=FLAG), 2),
    ),
    "RegistryTLSConfig": record(name=one_of("a.example.org"), insecureSkipVerify=FLAG, ca=TEXT),
    "RoutingRuleConfig": record(
        name=one_of("1000", "1001"), src=SUBNET, dst=SUBNET, table=one_of("main", "100"), action=one_of("unicast"), iifName=one_of("eth0"),
        fwMark=one_of(7),
    ),
    "SideroLinkConfig": record(apiUrl=one_of("https://a.example.org/?jointoken=x", "grpc://10.0.0.1:8081"), uniqueToken=WORD),
    "StaticHostConfig": record(name=ADDRESS, hostnames=some_of("a", "b.example.org", "c")),
    "SwapVolumeConfig": record(name=one_of("swap"), provisioning=PROVISIONING, encryption=ENCRYPTION),
    "TCPProbeConfig": record(
        name=one_of("dns"), endpoint=one_of("10.0.0.1:53", "10.0.0.2:53"), interval=one_of("1s", "5s"), timeout=one_of("2s"),
        failureThreshold=one_of(2, 3),
    ),
    "UserVolumeConfig": record(
        name=one_of("data", "db"), volumeType=one_of("partition", "disk"), provisioning=PROVISIONING,
        filesystem=record(type=one_of("xfs", "ext4"), projectQuotaSupport=FLAG), encryption=ENCRYPTION, mount=record(secure=FLAG),
    ),
    "VLANConfig": record(name=one_of("eth0.10"), vlanID=one_of(10, 20), parent=one_of("eth0"), vlanMode=one_of("802.1q"), **COMMON),
    "VRFConfig": record(name=one_of("vrf-a"), links=LINKS, table=one_of("100", "101"), **COMMON),
    "VolumeConfig": record(
        name=one_of("EPHEMERAL", "IMAGECACHE", "STATE"), provisioning=PROVISIONING, encryption=ENCRYPTION, mount=record(secure=FLAG)
    ),
    "WireguardConfig": record(
        name=one_of("wg0"), privateKey=one_of("a" * 43 + "="), listenPort=one_of(51820), firewallMark=one_of(1),
        peers=listed(
            record(
                publicKey=one_of("b" * 43 + "=", "c" * 43 + "="), endpoint=one_of("10.0.0.1:51820"),
                persistentKeepaliveInterval=one_of("25s"), allowedIPs=listed(SUBNET, 2),
            ), 2
        ),
        **COMMON,
    ),
    "ZswapConfig": record(maxPoolPercent=one_of(20, 25), shrinkerEnabled=FLAG),
}  # fmt: skip
DOCUMENTS: dict[str, Make] = {**patch_words.DOCUMENTS, **MORE}


def document_patch(chance: random.Random) -> Json:
    kind = chance.choice(sorted(DOCUMENTS))
    return {"apiVersion": "v1alpha1", "kind": kind, **DOCUMENTS[kind](chance)}


def patches(chance: random.Random, number: int) -> list[Json]:
    """As people write them: several of a kind, so that one is merged into another."""
    kinds = chance.sample(sorted(DOCUMENTS), min(3, len(DOCUMENTS)))
    return [
        {"apiVersion": "v1alpha1", "kind": kind, **DOCUMENTS[kind](chance)} for kind in chance.choices(kinds, k=number)
    ]
