# SPDX-License-Identifier: GPL-3.0-or-later
"""``proxmox_firewall``: what the server keeps in another form than it was written in, and what it would refuse."""

from __future__ import annotations

import collections.abc
import pathlib
import typing as t

import pytest
from pve_lab import PveLab
from test_pve_firewall import PASS, SYSTEM, datacenter, guest, guests, listed, run, truthful, truthful_nothing

from simlab.proxmox.firewall import Firewall


@pytest.fixture
def wall(tmp_path: pathlib.Path) -> collections.abc.Iterator[PveLab]:
    with PveLab(tmp_path, also=SYSTEM) as lab:
        guests(lab)
        yield lab


def test_a_network_of_one_address_is_that_address(wall: PveLab) -> None:
    """``10.0.0.5/32`` is kept as ``10.0.0.5``."""
    cidrs = ["10.0.0.5/32", "fd00::5/128", "FD00::6/128", "10.1.0.0/16"]
    aliases = [{"name": "host", "cidr": "10.0.0.5/32"}, {"name": "six", "cidr": "fd00::5/128"}]
    sets = [{"name": "hosts", "entries": [{"cidr": cidr} for cidr in cidrs]}]
    truthful(wall, datacenter(aliases=aliases, ipsets=sets))
    short = [{"cidr": cidr} for cidr in ("10.0.0.5", "fd00::5", "fd00::6", "10.1.0.0/16")]
    assert truthful_nothing(wall, datacenter(ipsets=[{"name": "hosts", "entries": short}]))
    both = run(wall, datacenter(ipsets=[{"name": "hosts", "entries": [{"cidr": "10.0.0.5"}, {"cidr": "10.0.0.5/32"}]}]))
    assert "IP set hosts has 10.0.0.5 twice" in both.result["msg"]


def test_comments_are_one_line_without_space_around(wall: PveLab) -> None:
    """Files of firewalls have a comment at the end of a line: a second line would be another entry."""
    comment = " who may\n10.9.9.9\n"
    wish = datacenter(
        aliases=[{"name": "lab", "cidr": "192.168.30.0/24", "comment": comment}],
        ipsets=[{"name": "admins", "comment": comment, "entries": [{"cidr": "10.0.0.1", "comment": comment}]}],
        groups=[{"name": "web", "comment": comment, "rules": [{**PASS, "comment": comment}]}],
    )
    truthful(wall, wish)
    for path in ("aliases", "ipset", "ipset/admins", "groups", "groups/web"):
        assert [one["comment"] for one in listed(wall, f"/cluster/firewall/{path}")] == ["who may 10.9.9.9"]


def test_an_alias_keeps_a_comment_that_is_left_out(wall: PveLab) -> None:
    truthful(wall, datacenter(aliases=[{"name": "lab", "cidr": "192.168.30.0/24", "comment": "the lab"}]))
    assert truthful_nothing(wall, datacenter(aliases=[{"name": "lab", "cidr": "192.168.30.0/24"}]))
    truthful(wall, datacenter(aliases=[{"name": "lab", "cidr": "192.168.31.0/24"}]))
    assert listed(wall, "/cluster/firewall/aliases")[0]["comment"] == "the lab"
    truthful(wall, datacenter(aliases=[{"name": "lab", "cidr": "192.168.31.0/24", "comment": ""}]))
    assert "comment" not in listed(wall, "/cluster/firewall/aliases")[0]


def test_an_ip_set_may_be_written_in_any_case(wall: PveLab) -> None:
    """The server keeps names of sets in lower case, and knows no other when a rule names one."""
    sets = [{"name": "Management", "entries": [{"cidr": "10.0.0.1"}]}]
    rules = [{"type": "in", "action": "ACCEPT", "source": source} for source in ("+Management", "+dc/MANAGEMENT")]
    truthful(wall, datacenter(ipsets=sets), guest(rules=rules))
    found = [rule["source"] for rule in listed(wall, "/nodes/pve1/qemu/200/firewall/rules")]
    assert found == ["+management", "+dc/management"]


def test_a_rule_may_name_a_set_of_sdn(wall: PveLab) -> None:
    """They are made by the server for each vnet, and keep its upper case."""
    wish = guest(rules=[{"type": "in", "action": "ACCEPT", "source": "+sdn/Front-all"}])
    assert "A rule of guest/200 uses the IP set 'front-all', which does not exist" in run(wall, wish).result["msg"]
    wall.server.cluster.extra("firewall", Firewall).sdn["Front-all"] = ["10.5.0.0/24"]
    truthful(wall, wish)
    assert listed(wall, "/nodes/pve1/qemu/200/firewall/rules")[0]["source"] == "+sdn/Front-all"


def test_a_rule_that_was_broken_for_a_while_is_not_changed(wall: PveLab) -> None:
    """A list tells of a rule what is wrong with it."""
    alias = {"name": "lab", "cidr": "192.168.30.0/24"}
    wish = datacenter(aliases=[alias], rules=[{"type": "in", "action": "ACCEPT", "source": "lab"}])
    truthful(wall, wish)
    with wall.session() as session:
        session.delete("/cluster/firewall/aliases/lab", asked="break the rule")
    assert "errors" in listed(wall, "/cluster/firewall/rules")[0]
    assert truthful(wall, wish).actions == ["firewall/datacenter/alias/lab create"]
    with wall.session() as session:
        session.delete("/cluster/firewall/aliases/lab", asked="break the rule")
    told = run(wall, datacenter(rules=wish["rules"]))
    assert "A rule of datacenter uses the alias 'lab', which does not exist" in told.result["msg"]


def test_what_a_wanted_rule_uses_is_not_deleted(wall: PveLab) -> None:
    """A rule whose name is gone is switched off by the server in silence; also one that blocks."""
    names: dict[str, t.Any] = {
        "aliases": [{"name": "lab", "cidr": "192.168.30.0/24"}],
        "ipsets": [{"name": "bad", "entries": [{"cidr": "10.0.0.1"}]}],
        "groups": [{"name": "web", "rules": [PASS]}],
    }
    rules = [
        {"type": "in", "action": "DROP", "source": "+bad"},
        {"type": "in", "action": "ACCEPT", "source": "lab"},
        {"type": "group", "action": "web"},
    ]
    truthful(wall, datacenter(**names), guest(rules=rules))
    for kind, message in (
        ("aliases", "A rule of guest/200 uses the alias 'lab', which does not exist"),
        ("ipsets", "A rule of guest/200 uses the IP set 'bad', which does not exist"),
        ("groups", "A rule uses the security group 'web', which does not exist"),
    ):
        gone = datacenter(**{kind: [{"name": names[kind][0]["name"], "state": "absent"}]})
        outcome = run(wall, gone, guest(rules=rules))
        assert message in outcome.result["msg"], outcome.result
        assert outcome.writes == []


REFUSED: list[tuple[dict[str, t.Any], str]] = [
    (datacenter(ipsets=[{"name": "admins", "entries": [{"cidr": "nobody"}]}]), "The IP set admins of datacenter uses the alias 'nobody', which does not exist"),
    (guest(ipsets=[{"name": "mine", "entries": [{"cidr": "dc/nobody"}]}]), "The IP set mine of guest/200 uses the alias 'nobody', which does not exist"),
    (datacenter(groups=[{"name": "web", "rules": [{**PASS, "iface": "net0"}]}]), "rules[0] of a group has iface"),
    (datacenter(rules=[{"type": "forward", "action": "REJECT"}]), "rules[0] is of type forward, where REJECT is not possible"),
    (guest(rules=[{**PASS, "iface": "eth0"}]), "rules[0]: iface is 'eth0'. In a guest it is net0"),
    (datacenter(rules=[{**PASS, "source": "10.0.0.1/24"}]), "rules[0]: source '10.0.0.1/24' is no network. Write 10.0.0.0/24"),
    (datacenter(rules=[{**PASS, "source": "10.0.0.1,fd00::1"}]), "rules[0]: source '10.0.0.1,fd00::1' has IPv4 and IPv6 in one list"),
    (datacenter(rules=[{**PASS, "dest": "10.0.0.1-10.0.0.5,10.0.0.9"}]), "rules[0]: dest '10.0.0.1-10.0.0.5,10.0.0.9' has a range in a list"),
    (datacenter(rules=[{**PASS, "dport": "90:80"}]), "rules[0]: dport '90:80' is no port"),
    (datacenter(rules=[{**PASS, "dport": ",".join(map(str, range(16)))}]), "has more than 15 ports"),
]  # fmt: skip


@pytest.mark.parametrize(("wish", "message"), REFUSED, ids=[message[:40] for _wish, message in REFUSED])
def test_what_the_server_would_refuse_is_said_before_anything_is_written(
    wall: PveLab, wish: dict[str, t.Any], message: str
) -> None:
    for check in (True, False):
        outcome = run(wall, guest(201, options={"enable": True}), wish, check=check)
        assert message in outcome.result["msg"]
        assert outcome.result["error"]["kind"] == "InvalidInput"
        assert outcome.writes == []
