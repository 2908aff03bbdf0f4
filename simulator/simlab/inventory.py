# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab must have, read from its Ansible inventory with Ansible's own code.

The reading happens in a process of its own (``python -m simlab.inventory DIR``): Ansible keeps global state, and the
environment it reads from must be that of the playbooks. A variable that cannot be templated here (its lookup needs a
tool, a secret or a real lab) counts as not set, unless the lab cannot be built without it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
import json
import pathlib
import subprocess
import sys
import typing as t
import urllib.parse

#: The only variables that are looked at.
VARIABLES = (
    "ansible_host", "lab_name", "lab_domain", "lab_networks", "proxmox_api_host", "proxmox_api_port",
    "proxmox_api_user", "proxmox_api_token_id", "proxmox_api_token_secret", "proxmox_api_password", "proxmox_ca_path",
    "proxmox_node", "proxmox_storage", "proxmox_image_storage", "machine_vmid", "machine_address", "machine_node",
    "machine_network", "machine_mac", "machine_storage", "machine_pool", "talos_image_factory_url",
    "talos_cluster_endpoint",
)  # fmt: skip
HYPERVISORS, MACHINES = "proxmox", ("talos_control_planes", "talos_workers")


class InventoryError(Exception):
    """The inventory does not describe a lab; the text names the variable, its value and what was expected."""


@dataclasses.dataclass(frozen=True)
class LabNetwork:
    name: str
    subnet: str
    gateway: str
    vlan: int | None = None
    bridge: str = "vmbr0"
    nameservers: tuple[str, ...] = ()
    mtu: int | None = None

    @property
    def prefix(self) -> int:
        return ipaddress.IPv4Network(self.subnet).prefixlen


@dataclasses.dataclass(frozen=True)
class Hypervisor:
    """``name`` is the Proxmox node's."""

    name: str
    address: str


@dataclasses.dataclass(frozen=True)
class ProxmoxAccess:
    """Who the playbooks are. ``user`` with its realm; without ``token`` they log in by password. ``given`` are the
    variables of the connection that the inventory sets itself.
    """

    port: int = 8006
    user: str = "ansible@pve"
    token: str | None = "groundwork"
    given: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class LabMachine:
    """``address`` has no prefix; ``roles`` are the groups it is in."""

    name: str
    vmid: int
    address: str | None
    network: str
    node: str
    mac: str | None = None
    storage: str | None = None
    pool: str | None = None
    roles: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Inventory:
    name: str
    domain: str | None
    networks: tuple[LabNetwork, ...]
    hypervisors: tuple[Hypervisor, ...]
    access: ProxmoxAccess
    storage: str
    image_storage: str
    machines: tuple[LabMachine, ...]
    #: Names under which Image Factories are asked for.
    factories: tuple[str, ...]
    #: Further names with their addresses, such as the Kubernetes API's.
    names: t.Mapping[str, str]

    def network(self, name: str) -> LabNetwork:
        return next(network for network in self.networks if network.name == name)


class Reading:
    """An inventory that is being read from now on. Raises :class:`InventoryError` when its result is asked for."""

    def __init__(self, folder: pathlib.Path, environment: t.Mapping[str, str]) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "simlab.inventory", str(folder)], env=dict(environment),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    async def result(self) -> Inventory:
        output, errors = await asyncio.to_thread(self._process.communicate)
        if self._process.returncode != 0:
            reason = errors.decode(errors="replace").strip()[-2000:]
            raise InventoryError(f"{self._folder}: Ansible cannot read it: {reason}")
        return interpret(json.loads(output), str(self._folder))


Hosts = t.Mapping[str, t.Mapping[str, t.Any]]


def interpret(raw: t.Mapping[str, t.Any], where: str) -> Inventory:
    """``raw``: ``groups`` (name to host names), ``hosts`` (name to variables) and ``all`` (variables of all)."""
    every, hosts, groups = raw["all"], raw["hosts"], raw["groups"]
    networks = _networks(every.get("lab_networks"), where)
    hypervisors = _hypervisors(groups.get(HYPERVISORS, ()), hosts, where)
    merged = {**every, **(hosts[groups[HYPERVISORS][0]])}
    members = {name: [group for group in MACHINES if name in groups.get(group, ())] for name in hosts}
    machines = tuple(
        _machine(name, hosts[name], roles, networks, hypervisors, where) for name, roles in members.items() if roles
    )
    factories = [every, *(hosts[machine.name] for machine in machines)]
    urls = [str(variables.get("talos_image_factory_url") or "https://factory.talos.dev") for variables in factories]
    name = every.get("lab_name")
    if not name:
        raise InventoryError(
            f"{where}: lab_name is not set; expected the lab's name, such as {pathlib.Path(where).name}"
        )
    return Inventory(
        name=str(name),
        domain=every.get("lab_domain"),
        networks=networks,
        hypervisors=hypervisors,
        access=_access(merged),
        storage=str(merged.get("proxmox_storage") or "local-lvm"),
        image_storage=str(merged.get("proxmox_image_storage") or "local"),
        machines=machines,
        factories=tuple(sorted({host for url in urls if (host := urllib.parse.urlsplit(url).hostname)})),
        names=_endpoint(every.get("talos_cluster_endpoint"), machines),
    )


def _networks(given: t.Any, where: str) -> tuple[LabNetwork, ...]:
    if not isinstance(given, dict) or not given:
        raise InventoryError(f"{where}: lab_networks is {given!r}; expected {{name: {{subnet, gateway, vlan, …}}}}")
    return tuple(_network(str(name), entry, where) for name, entry in given.items())


def _network(name: str, entry: t.Any, where: str) -> LabNetwork:
    try:
        subnet = ipaddress.IPv4Network(entry["subnet"])
        gateway = entry.get("gateway") or str(subnet[1])
        vlan = entry.get("vlan")
        return LabNetwork(
            name=name,
            subnet=str(subnet),
            gateway=str(ipaddress.IPv4Address(gateway)),
            vlan=int(vlan) if vlan not in (None, "") else None,
            bridge=str(entry.get("bridge") or "vmbr0"),
            nameservers=tuple(str(server) for server in entry.get("nameservers") or ()),
            mtu=int(entry["mtu"]) if entry.get("mtu") else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InventoryError(f"{where}: lab_networks.{name} is {entry!r}: {error!r}") from None


def _hypervisors(names: t.Sequence[str], hosts: Hosts, where: str) -> tuple[Hypervisor, ...]:
    if not names:
        raise InventoryError(f"{where}: the group {HYPERVISORS} has no host; a simulated lab needs a hypervisor")
    found = []
    for name in names:
        address = str(hosts[name].get("ansible_host") or hosts[name].get("proxmox_api_host") or "")
        try:
            ipaddress.IPv4Address(address)
        except ValueError:
            raise InventoryError(f"{where}: ansible_host of {name} is {address!r}; expected an IPv4 address") from None
        found.append(Hypervisor(str(hosts[name].get("proxmox_node") or name.partition(".")[0]), address))
    return tuple(found)


def _access(variables: t.Mapping[str, t.Any]) -> ProxmoxAccess:
    user, token = str(variables.get("proxmox_api_user") or ""), str(variables.get("proxmox_api_token_id") or "")
    if "!" in token:
        user, _, token = token.partition("!")
    connection = ("proxmox_api_token_secret", "proxmox_api_password", "proxmox_ca_path")
    given = tuple(name for name in connection if name in variables)
    by_password = not token and "proxmox_api_password" in given
    return ProxmoxAccess(
        port=int(variables.get("proxmox_api_port") or 8006),
        user=user or ("root@pam" if by_password else "ansible@pve"),
        token=None if by_password else token or "groundwork",
        given=given,
    )


def _machine(
    name: str,
    variables: t.Mapping[str, t.Any],
    roles: list[str],
    networks: tuple[LabNetwork, ...],
    hypervisors: tuple[Hypervisor, ...],
    where: str,
) -> LabMachine:
    network = str(variables.get("machine_network") or (networks[0].name if len(networks) == 1 else ""))
    if network not in {known.name for known in networks}:
        expected = ", ".join(known.name for known in networks)
        raise InventoryError(f"{where}: machine_network of {name} is {network!r}; expected one of {expected}")
    try:
        vmid = int(variables["machine_vmid"])
        address = variables.get("machine_address")
        plain = str(ipaddress.IPv4Address(str(address).partition("/")[0])) if address else None
    except (KeyError, TypeError, ValueError) as error:
        raise InventoryError(f"{where}: {name}: machine_vmid or machine_address: {error!r}") from None
    text = {key: str(variables[key]) if variables.get(key) else None for key in ("machine_storage", "machine_pool")}
    mac = variables.get("machine_mac")
    return LabMachine(
        name=name,
        vmid=vmid,
        address=plain,
        network=network,
        node=str(variables.get("machine_node") or hypervisors[0].name),
        mac=str(mac).lower() if mac else None,
        storage=text["machine_storage"],
        pool=text["machine_pool"],
        roles=tuple(roles),
    )


def _endpoint(endpoint: t.Any, machines: t.Sequence[LabMachine]) -> dict[str, str]:
    """A cluster endpoint that is a name leads to the first control plane, as the lab's DNS would have it."""
    host = urllib.parse.urlsplit(str(endpoint)).hostname if endpoint else None
    first = next((machine for machine in machines if MACHINES[0] in machine.roles and machine.address), None)
    if not host or first is None or first.address is None or host.replace(".", "").isdigit():
        return {}
    return {host: first.address}


# -- in the process of its own ------------------------------------------------------------------------------------


def dump(folder: str) -> dict[str, t.Any]:
    """What :func:`interpret` needs, by ansible-core's API."""
    from ansible import constants
    from ansible.cli import CLI
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import init_plugin_loader
    from ansible.vars.manager import VariableManager

    init_plugin_loader()
    loader = DataLoader()
    loader.set_basedir(".")
    files = [constants.DEFAULT_VAULT_PASSWORD_FILE] if constants.DEFAULT_VAULT_PASSWORD_FILE else []
    secrets = CLI.setup_vault_secrets(loader, constants.DEFAULT_VAULT_IDENTITY_LIST, files, auto_prompt=False)
    loader.set_vault_secrets(secrets)
    manager = InventoryManager(loader=loader, sources=[folder])
    variables = VariableManager(loader=loader, inventory=manager)
    hosts = {host.name: _templated(loader, variables.get_vars(host=host)) for host in manager.get_hosts()}
    groups = {name: [host.name for host in group.get_hosts()] for name, group in manager.groups.items()}
    shared = _templated(loader, {**variables.get_vars(), **_group_variables(manager, variables)})
    return {"all": shared, "hosts": hosts, "groups": groups}


def _group_variables(manager: t.Any, variables: t.Any) -> dict[str, t.Any]:
    """Variables of the group ``all``, as a host without groups of its own would have them."""
    localhost = manager.get_host("localhost")
    return dict(variables.get_vars(host=localhost)) if localhost else {}


def _templated(loader: t.Any, variables: dict[str, t.Any]) -> dict[str, t.Any]:
    from ansible.template import Templar

    templar = Templar(loader=loader, variables=variables)
    found = {}
    for name in VARIABLES:
        if name in variables:
            try:
                found[name] = _plain(templar.template(variables[name]))
            except Exception:  # any plugin may run here and raise anything; see the module's text
                found[name] = None
    return found


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


if __name__ == "__main__":
    print(json.dumps(dump(sys.argv[1])))
