# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest is reached when it has power and is on the right VLAN, and otherwise does not answer at all."""

from __future__ import annotations

import typing as t

_TWO_GUESTS = """
async def main():
    network = Network()
    await network.start()
    await network.add_network(Segment("vmbr0", 30), "192.168.30.0/24", "192.168.30.1")
    await network.add_network(Segment("vmbr0", 40), "192.168.40.0/24", "192.168.40.1")
    await network.expect(["192.168.30.50", "192.168.30.51", "192.168.30.52"])
    guests = []
    for number in (0, 1):
        namespace = await network.create_namespace(f"vm{200 + number}")
        nic = Nic("net0", f"02:00:00:00:00:5{number}", "vmbr0", 30)
        plug = await network.plug_in(namespace, "ens18", nic)
        await network.set_addresses(namespace, plug, [f"192.168.30.5{number}/24"], "192.168.30.1")
        guests.append((namespace, plug, nic))
    (first, plug, nic), (second, _, _) = guests
    server = await asyncio.start_server(lambda reader, writer: writer.close(), sock=first.listen("0.0.0.0", 50000))
    async def reach(address, port=50000, who=network.router):
        return await timed(who.connect(address, port, 1.0))
"""


def test_a_running_guest_is_reached_from_the_router_and_its_neighbour(
    in_sandbox: t.Callable[..., t.Any], user: list[str]
) -> None:
    found = in_sandbox(
        _TWO_GUESTS + '    return [await reach("192.168.30.50"), await reach("192.168.30.50", who=second)]', user
    )
    assert [answer for answer, _ in found] == ["connected", "connected"]


def test_a_closed_port_of_a_running_guest_refuses(in_sandbox: t.Callable[..., t.Any]) -> None:
    answer, seconds = in_sandbox(_TWO_GUESTS + '    return await reach("192.168.30.51")')
    assert (answer, seconds < 0.5) == ("ConnectionRefusedError", True)


def test_a_guest_that_never_had_power_is_a_time_out(in_sandbox: t.Callable[..., t.Any], user: list[str]) -> None:
    answer, seconds = in_sandbox(_TWO_GUESTS + '    return await reach("192.168.30.52")', user)
    assert (answer, seconds >= 1.0) == ("TimeoutError", True)


def test_a_guest_without_power_is_a_time_out(in_sandbox: t.Callable[..., t.Any], user: list[str]) -> None:
    source = """
    before = await reach("192.168.30.50")
    await network.pull_out([plug])
    return [before, await reach("192.168.30.50")]
"""
    found = in_sandbox(_TWO_GUESTS + source, user)
    assert [answer for answer, _ in found] == ["connected", "TimeoutError"]


def test_a_guest_on_the_wrong_vlan_is_a_time_out_until_it_is_back(in_sandbox: t.Callable[..., t.Any]) -> None:
    source = """
    found = []
    for vlan in (40, 30):
        await network.move(plug, Nic("net0", nic.mac, "vmbr0", vlan))
        found.append(await reach("192.168.30.50"))
    return found
"""
    found = in_sandbox(_TWO_GUESTS + source)
    assert [answer for answer, _ in found] == ["TimeoutError", "connected"]


def test_a_cable_that_is_out_is_a_time_out(in_sandbox: t.Callable[..., t.Any]) -> None:
    source = """
    await network.move(plug, Nic("net0", nic.mac, "vmbr0", 30, link_down=True))
    return await reach("192.168.30.50")
"""
    assert in_sandbox(_TWO_GUESTS + source)[0] == "TimeoutError"


def test_the_gateway_keeps_its_mac_whoever_comes_and_goes(in_sandbox: t.Callable[..., t.Any]) -> None:
    """A bridge without an address of its own takes the lowest of its cables', and whoever knew the old one is lost."""
    source = """
    import subprocess
    from simlab.iproute import ip
    def mac():
        shown = subprocess.run(["ip", "-o", "link", "show", "vmbr0v30"], capture_output=True, text=True, check=True)
        return shown.stdout.partition("link/ether ")[2].split()[0]
    found = [mac()]
    await ip(["link set vm200n0 address 02:00:00:00:00:01"])
    found.append(mac())
    await network.move(plug, Nic("net0", nic.mac, "vmbr0", 40))
    found.append(mac())
    await network.pull_out([plug])
    return [*found, mac()]
"""
    found = in_sandbox(_TWO_GUESTS + source)
    assert len(found) == 4 and len(set(found)) == 1


def test_vlans_are_joined_by_the_router(in_sandbox: t.Callable[..., t.Any]) -> None:
    source = """
    other = await network.create_namespace("vm300")
    cable = await network.plug_in(other, "ens18", Nic("net0", "02:00:00:00:00:99", "vmbr0", 40))
    await network.set_addresses(other, cable, ["192.168.40.9/24"], "192.168.40.1")
    return await reach("192.168.30.50", who=other)
"""
    assert in_sandbox(_TWO_GUESTS + source)[0] == "connected"


def test_a_virtual_address_moves(in_sandbox: t.Callable[..., t.Any]) -> None:
    source = """
    other = await asyncio.start_server(lambda reader, writer: writer.close(), sock=second.listen("0.0.0.0", 50000))
    _, second_plug, _ = guests[1]
    async def owner():
        sock = await network.router.connect("192.168.30.60", 50000, 2.0)
        sock.close()
        return open("/proc/net/arp").read().split("192.168.30.60")[1].split()[2]
    await network.add_address(first, plug, "192.168.30.60/32")
    found = [await owner()]
    await network.remove_address(first, plug, "192.168.30.60/32")
    await network.add_address(second, second_plug, "192.168.30.60/32")
    found.append(await owner())
    return found
"""
    assert in_sandbox(_TWO_GUESTS + source) == ["02:00:00:00:00:50", "02:00:00:00:00:51"]


def test_fifty_guests_are_plugged_in_within_seconds(in_sandbox: t.Callable[..., t.Any]) -> None:
    source = """
async def main():
    network = Network()
    await network.start()
    await network.add_network(Segment("vmbr0", 30), "192.168.30.0/24", "192.168.30.1")
    async def guest(number):
        namespace = await network.create_namespace(f"vm{number}")
        nic = Nic("net0", f"02:00:00:00:01:{number:02x}", "vmbr0", 30)
        plug = await network.plug_in(namespace, "ens18", nic)
        await network.set_addresses(namespace, plug, [f"192.168.30.{number}/24"], "192.168.30.1")
        return namespace
    start = time.monotonic()
    made = await asyncio.gather(*(guest(number) for number in range(50, 100)))
    return [time.monotonic() - start, await timed(made[0].connect("192.168.30.99", 9, 1.0))]
"""
    seconds, (answer, _) = in_sandbox(source)
    assert answer == "ConnectionRefusedError"  # somebody is there
    assert seconds < 15


def test_a_namespace_of_a_process_is_the_one_it_was_started_in(in_sandbox: t.Callable[..., t.Any]) -> None:
    source = """
    process = await first.spawn(["ip", "-br", "addr"], stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return output.decode()
"""
    found = in_sandbox(_TWO_GUESTS + source)
    assert "192.168.30.50/24" in found and "192.168.30.1/" not in found
