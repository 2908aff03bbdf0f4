# SPDX-License-Identifier: GPL-3.0-or-later
"""Firewalls, as other clients handle them: what a rule may say, lists with digests of their own, names in two cases."""

from __future__ import annotations

import pathlib

import pytest
from flows import Step, walk

FIREWALL = "/cluster/firewall"
RULES = f"POST {FIREWALL}/rules"
ACCEPT = {"type": "in", "action": "ACCEPT"}
VM = Step("POST qemu", {"vmid": 100}, "task OK")


def wrong(errors: dict[str, str], **rule: object) -> Step:
    return Step(RULES, {**ACCEPT, **rule}, errors=errors)


def invalid(name: str, text: str, **rule: object) -> Step:
    return wrong({name: f"invalid format - {text}\n"}, **rule)


FLOWS: dict[str, list[Step]] = {
    "addresses that are none": [
        invalid("source", "invalid IP address: Invalid quad in IP address 10.0.0.300 - 300", source="10.0.0.300"),
        invalid(
            "source", "invalid IP address: Invalid prefix 00001010000000000000000000000001/24", source="10.0.0.1/24"
        ),
        invalid("source", "extraneous commas in list", source="10.0.0.1,"),
        invalid("dest", "you can't use a range in a list", dest="10.0.0.1-10.0.0.2,10.0.0.9"),
        invalid(
            "dest", "detected mixed ipv4/ipv6 addresses in address list '10.0.0.1,fe80::1'", dest="10.0.0.1,fe80::1"
        ),
    ],
    "ports and protocols": [
        invalid("dport", "backwards range '90:80' not allowed, did you mean '80:90'?", proto="tcp", dport="90:80"),
        invalid("dport", "too many entries in port list (> 15 numbers)", proto="tcp", dport=",".join(["80"] * 16)),
        wrong({"dport": "protocol 'gre' does not support ports"}, proto="gre", dport="22"),
        wrong({"icmp-type": "invalid icmp-type 'foo' for proto 'icmp'"}, proto="icmp", **{"icmp-type": "foo"}),
        wrong({"proto": "missing property - 'icmp-type' requires this property"}, **{"icmp-type": "any"}),
        wrong({"dport": "parameter 'dport' already define in macro (value = '22')"}, macro="ssh", proto="tcp", dport="23"),
        Step(RULES, {**ACCEPT, "proto": "icmp", "dport": "echo-request"}),
        Step(f"GET {FIREWALL}/rules/0", answer={"ipversion": 4, "dport": "echo-request"}),
        Step(RULES, {**ACCEPT, "macro": "Ping", "source": "fe80::/10"}),
        Step(f"GET {FIREWALL}/rules/0", answer={"ipversion": 6}),
    ],
    "rules of each kind": [
        VM,
        Step(RULES, {"type": "in", "action": "FOO"}, errors={"action": "unknown action 'FOO'"}),
        Step(
            RULES,
            {"type": "forward", "action": "REJECT"},
            errors={"action": "cannot define REJECT rules on forward chain"},
        ),
        Step(
            "POST qemu/100/firewall/rules",
            {**ACCEPT, "iface": "eth0"},
            errors={"iface": r"value does not match the regex pattern 'net\d+'"},
        ),
        Step(f"POST {FIREWALL}/groups", {"group": "web"}),
        Step(
            f"POST {FIREWALL}/groups/web",
            {"type": "group", "action": "other"},
            errors={"type": "invalid rule type 'group' for rule_env 'group'"},
        ),
        Step(
            f"POST {FIREWALL}/groups/web",
            {**ACCEPT, "iface": "eth0"},
            errors={"type": "parameter -i not allowed for this rule type"},
        ),
        Step(f"POST {FIREWALL}/groups/web", {**ACCEPT, "iface": "", "source": "10.0.0.0/8"}, errors={
            "iface": "invalid format - invalid network interface name ''\n",
        }),
    ],
    "a rule is changed in place": [
        Step(RULES, {**ACCEPT, "proto": "tcp", "dport": "22", "comment": "a"}),
        Step(f"PUT {FIREWALL}/rules/0", {"comment": "", "moveto": 0, "dport": "23"}),
        Step(f"GET {FIREWALL}/rules/0", answer={"comment": None, "dport": "23"}),
        Step(f"PUT {FIREWALL}/rules/0", {"delete": "action"}, errors={"delete": "unable to delete required property 'action'"}),
        Step(f"PUT {FIREWALL}/rules/0", {"delete": "foo"}, errors={"delete": "no such property ('foo')"}),
    ],
    "a rule shows what is wrong with it by now": [
        Step(f"POST {FIREWALL}/aliases", {"name": "Gone", "cidr": "10.1.1.1/32"}),
        Step(f"GET {FIREWALL}/aliases/gone", answer={"cidr": "10.1.1.1"}),
        Step(RULES, {**ACCEPT, "source": "dc/Gone"}),
        Step(f"DELETE {FIREWALL}/aliases/gone"),
        Step(f"GET {FIREWALL}/rules", answer=[{"errors": {"source": "no such alias 'dc/Gone'"}}]),
    ],
    "names in two cases": [
        Step(f"POST {FIREWALL}/ipset", {"name": "LAN", "comment": "c"}),
        Step(f"POST {FIREWALL}/ipset", {"name": "LAN"}),
        Step(f"POST {FIREWALL}/ipset", {"name": "lan"}, errors={"name": "IPSet 'lan' already exists"}),
        Step(f"GET {FIREWALL}/ipset/LAN", answer="500 no such IPSet 'LAN'"),
        Step(f"GET {FIREWALL}/ipset", answer=[{"name": "lan", "comment": "c"}]),
        wrong({"source": "no such ipset 'LAN'"}, source="+LAN"),
        Step(f"POST {FIREWALL}/aliases", {"name": "Web", "cidr": "10.0.0.1"}),
        Step(f"POST {FIREWALL}/aliases", {"name": "WEB", "cidr": "10.0.0.1"}, errors={"name": "alias 'WEB' already exists"}),
    ],
    "sets and groups get other names": [
        Step(f"POST {FIREWALL}/ipset", {"name": "one"}),
        Step(f"POST {FIREWALL}/ipset", {"name": "two"}),
        Step(f"POST {FIREWALL}/ipset", {"name": "six", "rename": "no"}, errors={"name": "IPSet 'no' does not exist"}),
        Step(f"POST {FIREWALL}/ipset", {"name": "two", "rename": "one"}, errors={"name": "IPSet 'two' does already exist"}),
        Step(f"POST {FIREWALL}/ipset", {"name": "one", "rename": "one", "comment": "now"}),
        Step(f"POST {FIREWALL}/groups", {"group": "web"}),
        Step(
            f"POST {FIREWALL}/groups",
            {"group": "w2", "rename": "no"},
            errors={"group": "Security group 'no' does not exist"},
        ),
    ],
    "an entry of a set is what was sent last": [
        Step(f"POST {FIREWALL}/ipset", {"name": "lan"}),
        Step(f"POST {FIREWALL}/ipset/lan", {"cidr": "10.0.0.5/32", "comment": "c", "nomatch": 1}),
        Step(f"GET {FIREWALL}/ipset/lan/10.0.0.5", answer={"comment": "c", "nomatch": 1}),
        Step(f"PUT {FIREWALL}/ipset/lan/10.0.0.5"),
        Step(f"GET {FIREWALL}/ipset/lan/10.0.0.5", answer={"comment": None, "nomatch": None}),
        Step(f"POST {FIREWALL}/ipset/lan", {"cidr": "dc/none"}, "500 no such alias 'none'"),
    ],
    "a comment is what stands at the end of a line": [
        Step(f"POST {FIREWALL}/ipset", {"name": "lan", "comment": " who "}),
        Step(f"GET {FIREWALL}/ipset", answer=[{"name": "lan", "comment": "who"}]),
        Step(f"POST {FIREWALL}/ipset/lan", {"cidr": "10.0.0.5", "comment": "c "}),
        Step(f"GET {FIREWALL}/ipset/lan/10.0.0.5", answer={"comment": "c"}),
        Step(f"PUT {FIREWALL}/ipset/lan/10.0.0.5", {"comment": " d"}),
        Step(f"GET {FIREWALL}/ipset/lan/10.0.0.5", answer={"comment": "d"}),
        Step(f"POST {FIREWALL}/aliases", {"name": "one", "cidr": "10.0.0.5", "comment": " a # b "}),
        Step(f"GET {FIREWALL}/aliases/one", answer={"comment": "a # b"}),
        Step(RULES, {**ACCEPT, "comment": " r "}),
        Step(f"GET {FIREWALL}/rules/0", answer={"comment": "r"}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("flow", FLOWS)
def test_firewalls(tmp_path: pathlib.Path, flow: str) -> None:
    walk(tmp_path, FLOWS[flow])


def test_options_and_rules_have_digests_of_their_own(tmp_path: pathlib.Path) -> None:
    from flows import run

    async def test(login: object) -> None:
        client = await login()  # type: ignore[operator]
        await client.check(Step(RULES, ACCEPT))
        digest = (await client.send("GET", f"{FIREWALL}/rules", {}))[2]["data"][0]["digest"]
        await client.check(Step(f"PUT {FIREWALL}/options", {"policy_in": "DROP"}))
        await client.check(Step(f"PUT {FIREWALL}/rules/0", {"enable": 1, "digest": digest}))
        changed = "500 detected modified configuration - file changed by other user? Try again."
        await client.check(Step(f"PUT {FIREWALL}/rules/0", {"enable": 1, "digest": digest}, changed))
        await client.check(Step(RULES, {**ACCEPT, "digest": digest}))  # not looked at

    run(tmp_path, test)
