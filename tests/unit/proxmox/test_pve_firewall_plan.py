# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of firewall rules: the way from one to the other, who gets in on the way, and the plan of whole firewalls."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.firewall import firewall_plan as fp
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.firewall import firewall_rules as fr
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.firewall import firewall_spec as spec
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.firewall.firewall_state import (
    Current,
    Gate,
    Place,
)

RULES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["in", "out"]),
        "action": st.sampled_from(["ACCEPT", "DROP"]),
        "enable": st.sampled_from(["0", "1"]),
    },
    optional={
        "comment": st.sampled_from(["a", "b", "a [homelab]"]),
        "proto": st.just("tcp"),
        "dport": st.sampled_from(["22", "8006"]),
        "source": st.just("10.0.0.0/8"),
    },
)
LISTS = st.lists(RULES, max_size=7)


def rule(action: str = "ACCEPT", **more: str) -> fr.Rule:
    return {"type": "in", "action": action, "enable": "1", **more}


def walk(current: list[fr.Rule], wanted: list[fr.Rule]) -> list[list[fr.Rule]]:
    """The list after each step."""
    rules, seen = list(current), []
    for step in fr.steps(current, wanted):
        rules = fr.after(step, rules)
        seen.append(rules)
    return seen


@settings(max_examples=60, deadline=None)
@given(LISTS, LISTS)
def test_the_steps_lead_to_what_is_wanted_and_then_there_are_none(
    current: list[fr.Rule], wanted: list[fr.Rule]
) -> None:
    end = walk(current, wanted)[-1:] or [current]
    assert end[0] == wanted
    assert fr.steps(wanted, wanted) == []


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(6)))
def test_rules_in_another_order_are_only_moved_and_no_more_than_needed(order: list[int]) -> None:
    wanted = [rule(dport=str(number), proto="tcp") for number in range(6)]
    current = [wanted[number] for number in order]
    steps = fr.steps(current, wanted)
    assert all(isinstance(step, fr.Move) for step in steps)
    longest = [1] * 6
    for i in range(6):
        longest[i] = 1 + max((longest[j] for j in range(i) if order[j] < order[i]), default=0)
    assert len(steps) == 6 - max(longest)


@settings(max_examples=60, deadline=None)
@given(LISTS, LISTS)
def test_a_blocking_rule_is_on_only_when_it_was_or_everything_is_in_place(
    current: list[fr.Rule], wanted: list[fr.Rule]
) -> None:
    """Cut off after any step, a rule that blocks and is on was there before, or all the others are in their places."""
    was_on = [one for one in current if fr.blocks(one) and one["enable"] == "1"]
    for rules in walk(current, wanted):
        new = [one for one in rules if fr.blocks(one) and one["enable"] == "1" and not _known(one, was_on)]
        if new:
            assert [{**one, "enable": ""} for one in rules] == [{**one, "enable": ""} for one in wanted]


def _known(one: fr.Rule, was_on: list[fr.Rule]) -> bool:
    """It blocked before; only what it blocks may have been edited."""
    return bool(was_on) and one["action"] == "DROP"


def test_one_rule_more_in_the_middle_costs_two_writes() -> None:
    current = [rule(dport="1", proto="tcp"), rule(dport="3", proto="tcp")]
    wanted = [current[0], rule(dport="2", proto="tcp"), current[1]]
    assert fr.steps(current, wanted) == [fr.Insert(wanted[1]), fr.Move(0, 2)]


def test_a_new_list_is_written_from_its_end() -> None:
    wanted = [rule(dport="1", proto="tcp"), rule("DROP")]
    assert fr.steps([], wanted) == [
        fr.Insert({**wanted[1], "enable": "0"}),
        fr.Insert(wanted[0]),
        fr.Edit(1, {"enable": "1"}),
    ]


def test_a_rule_with_the_same_comment_is_edited() -> None:
    current = [rule(comment="web", dport="80", proto="tcp", log="info")]
    wanted = [rule(comment="web", dport="443", proto="tcp")]
    assert fr.steps(current, wanted) == [fr.Edit(0, {"dport": "443"}, ("log",))]


def test_rules_of_others_stay_behind_ours_in_their_order() -> None:
    others = [rule(comment="theirs"), rule("DROP")]
    ours = fr.marked(rule(comment="ssh"))
    target = fr.target([others[0], ours, others[1]], [rule(comment="web")], exclusive=False)
    assert [one.get("comment") for one in target] == ["web [homelab]", "theirs", None]
    assert fr.target(others, [], exclusive=True) == []


@pytest.mark.parametrize(
    ("rules", "verdict"),
    [
        ([], None),
        ([rule(proto="tcp", dport="8006")], True),
        ([rule(proto="tcp", dport="8000:9000", source="+management")], True),
        ([rule(proto="tcp", dport="22,8006")], True),
        ([rule(proto="udp", dport="8006")], None),
        ([rule(macro="SSH")], None),
        ([{**rule(), "enable": "0"}], None),
        ([{**rule(), "type": "out"}], None),
        ([rule("DROP"), rule()], False),
        ([rule("DROP", source="10.0.0.9"), rule()], True),
        ([rule("REJECT", proto="tcp", dport="8006")], False),
        ([{**rule("web"), "type": "group"}], True),
        ([{**rule("shut"), "type": "group"}], False),
        ([{**rule("shut"), "type": "group", "iface": "vmbr1"}, rule()], True),
        ([{**rule("unknown"), "type": "group"}], None),
    ],
)
def test_who_gets_in(rules: list[fr.Rule], verdict: bool | None) -> None:
    groups = {"web": [rule(proto="tcp", dport="8006")], "shut": [rule("DROP")]}
    assert fr.lets_in(rules, groups) is verdict


# -- whole firewalls -------------------------------------------------------------------------------------------------

PLACE = Place("/cluster/firewall")
OPTION_WISHES = st.fixed_dictionaries(
    {},
    optional={
        "enable": st.sampled_from([True, False, None, "1", 0]),
        "policy_in": st.sampled_from(["drop", "ACCEPT", "", "REJECT"]),
        "ebtables": st.sampled_from(["yes", False, None]),
    },
)
OPTION_STATES = st.fixed_dictionaries(
    {},
    optional={
        "enable": st.sampled_from(["0", "1"]),
        "policy_in": st.sampled_from(["DROP", "ACCEPT"]),
        "ebtables": st.sampled_from(["0", "1"]),
    },
)
ENTRIES = st.dictionaries(
    st.sampled_from(["10.0.0.0/24", "10.0.0.7", "fd00::/8", "lan"]),
    st.fixed_dictionaries({"comment": st.sampled_from(["", "x"]), "nomatch": st.sampled_from(["0", "1"])}),
    max_size=4,
)
SETS = st.builds(
    spec.IpSet, st.just("management"), st.booleans(), st.sampled_from([None, "", "c"]), st.none() | ENTRIES
)
SET_STATES = st.none() | st.builds(
    spec.IpSet, st.just("management"), st.just(True), st.sampled_from(["", "c"]), ENTRIES
)
ALIASES = st.builds(
    spec.Alias,
    st.just("lan"),
    st.booleans(),
    st.sampled_from(["10.0.0.0/24", "10.1.0.0/16"]),
    st.sampled_from(["", "c"]),
)
ALIAS_STATES = st.none() | ALIASES.map(lambda alias: dataclasses.replace(alias, present=True))


GROUPS = st.builds(
    spec.Group, st.just("web"), st.booleans(), st.sampled_from([None, "", "c"]), st.none() | LISTS.map(tuple)
)
GROUP_STATES = st.none() | st.builds(
    spec.Group, st.just("web"), st.just(True), st.sampled_from(["", "c"]), LISTS.map(tuple)
)


def group_after(operation: fp.Operation) -> spec.Group | None:
    """By the steps that are sent: a group goes when its rules are gone."""
    rules = tuple((operation.was.rules or ()) if operation.was else ())
    for step in operation.steps:
        rules = tuple(fr.after(step, rules))
    if operation.to is None:
        assert rules == ()
        return None
    return dataclasses.replace(operation.to, rules=rules)


def model(current: Current, changes: list[t.Any]) -> Current:
    """What there is when the changes are made."""
    options, aliases, ipsets, rules = dict(current.options), dict(current.aliases), dict(current.ipsets), current.rules
    groups = dict(current.groups)
    for change in changes:
        operation: fp.Operation = change.operation
        if operation.what == "options":
            for name, value in operation.to.items():
                options.pop(name, None)
                options.update({} if value is None else {name: value})
        elif operation.what == "rules":
            for step in operation.steps:
                rules = tuple(fr.after(step, rules))
        elif operation.what == "group":
            groups.pop(operation.name, None)
            left = group_after(operation)
            groups.update({operation.name: left} if left else {})
        else:
            named: dict[str, t.Any] = aliases if operation.what == "alias" else ipsets  # type: ignore[assignment]
            named.pop(operation.name, None)
            named.update({operation.name: operation.to} if operation.to else {})
    return Current(options=options, aliases=aliases, ipsets=ipsets, rules=rules, groups=groups)


@settings(max_examples=60, deadline=None)
@given(
    OPTION_WISHES, OPTION_STATES, LISTS, st.none() | LISTS, st.booleans(), SETS, SET_STATES, ALIASES, ALIAS_STATES, GROUPS,
    GROUP_STATES,
)  # fmt: skip
def test_what_is_planned_is_what_will_be(
    wishes: dict[str, t.Any],
    options: dict[str, str],
    rules: list[fr.Rule],
    wanted: list[fr.Rule] | None,
    exclusive: bool,
    ipset: spec.IpSet,
    ipset_is: spec.IpSet | None,
    alias: spec.Alias,
    alias_is: spec.Alias | None,
    group: spec.Group,
    group_is: spec.Group | None,
) -> None:
    cleaned = {name: spec._option("datacenter", name, value) for name, value in wishes.items()}
    given_rules = None if wanted is None else tuple(wanted)
    firewall = spec.Firewall(
        "datacenter",
        options=cleaned,
        rules=given_rules,
        exclusive=exclusive,
        aliases=(alias,),
        ipsets=(ipset,),
        groups=(group,),
    )
    current = Current(
        options=options,
        rules=tuple(rules),
        aliases={"lan": alias_is} if alias_is else {},
        ipsets={"management": ipset_is} if ipset_is else {},
        groups={"web": group_is} if group_is else {},
    )
    changes = fp.ordered(fp.plan(firewall, PLACE, current))
    end = model(current, changes)
    assert fp.plan(firewall, PLACE, end) == []
    for name, value in cleaned.items():
        assert fp._is(spec.OPTIONS["datacenter"][name], end.options.get(name)) == (
            value if value is not None else spec.OPTIONS["datacenter"][name].default
        )
    assert ("management" in end.ipsets) == ipset.present
    assert end.aliases.get("lan") == (alias if alias.present else None)
    if ipset.present and ipset.entries is not None:
        assert end.ipsets["management"].entries == ipset.entries
    assert ("web" in end.groups) == group.present
    if group.present:
        comment, rules = (group_is.comment, group_is.rules) if group_is else ("", ())
        wanted_ = (comment if group.comment is None else group.comment, rules if group.rules is None else group.rules)
        assert (end.groups["web"].comment, end.groups["web"].rules) == wanted_


def wish(**more: t.Any) -> spec.Firewall:
    return spec.wanted([{"scope": "datacenter", **more}])[0]


GATE = Gate(enabled=False, policy="DROP", rules=(), groups={}, management=False)


@pytest.mark.parametrize(
    ("more", "before", "locked"),
    [
        ({"options": {"enable": True}}, GATE, True),
        ({"options": {"enable": True, "policy_in": "ACCEPT"}}, GATE, False),
        ({"options": {"enable": True}, "ipsets": [{"name": "Management", "entries": [{"cidr": "10.0.0.1"}]}]}, GATE, False),
        ({"options": {"enable": True}, "ipsets": [{"name": "management", "entries": [{"cidr": "10.0.0.1", "nomatch": True}]}]}, GATE, True),
        ({"options": {"enable": True}, "rules": [{"type": "in", "action": "ACCEPT", "proto": "tcp", "dport": "8006"}]}, GATE, False),
        ({"options": {"enable": True}, "rules": [{"type": "in", "action": "ACCEPT", "proto": "tcp", "dport": "8006", "enabled": False}]}, GATE, True),
        ({"rules": [{"type": "in", "action": "DROP"}]}, dataclasses.replace(GATE, enabled=True, management=True), True),
        ({"rules": [{"type": "in", "action": "DROP"}]}, GATE, False),
        ({"rules": [{"type": "in", "action": "DROP"}]}, dataclasses.replace(GATE, enabled=True), False),
        ({"options": {"policy_in": "DROP"}}, dataclasses.replace(GATE, enabled=True, policy="ACCEPT"), True),
    ],
)  # fmt: skip
def test_nobody_is_locked_out(more: dict[str, t.Any], before: Gate, locked: bool) -> None:
    options = {"policy_in": before.policy} if before.policy != "DROP" else {}
    changes = fp.plan(wish(**more), PLACE, Current(options={**options, "enable": str(int(before.enabled))}))
    assert bool(fp.locked_out(before, changes)) is locked


def test_the_order_keeps_ways_open() -> None:
    firewall = wish(
        options={"enable": True},
        rules=[{"type": "in", "action": "ACCEPT", "source": "+admins"}],
        ipsets=[{"name": "admins", "entries": []}, {"name": "old", "state": "absent"}],
    )
    current = Current(ipsets={"old": spec.IpSet("old", True, "", {})})
    order = [change.resource.rpartition("datacenter/")[2] for change in fp.ordered(fp.plan(firewall, PLACE, current))]
    assert order == ["ipset/admins", "rules", "options", "ipset/old"]


R = {"type": "in", "action": "ACCEPT"}
BAD: list[tuple[dict[str, t.Any], str]] = [
    ({"scope": "node"}, "firewalls[0]: node is missing for scope node."),
    ({"scope": "guest"}, "vmid is missing for scope guest."),
    ({"scope": "guest", "vmid": 5}, "vmid 5 is no id of a guest."),
    ({"scope": "datacenter", "node": "pve1"}, "node is given for scope datacenter. It belongs to scope node."),
    ({"scope": "node", "node": "a/b"}, "node 'a/b' is not valid."),
    ({"scope": "node", "node": "pve1", "ipsets": [{"name": "ab"}]}, "A node has no aliases and IP sets of its own."),
    ({"scope": "guest", "vmid": 200, "groups": [{"name": "ab"}]}, "Security groups belong to the datacenter."),
    ({"options": {"policy": "DROP"}}, "There is no option 'policy' of a datacenter. There are ebtables, enable,"),
    ({"options": {"policy_in": "ALLOW"}}, "policy_in is 'ALLOW'. It can be ACCEPT, REJECT, DROP."),
    ({"options": {"enable": "perhaps"}}, "enable is 'perhaps', not true or false."),
    ({"scope": "node", "node": "pve1", "options": {"nf_conntrack_max": "many"}}, "nf_conntrack_max is 'many', no number."),
    ({"options": {"log_ratelimit": {"rate": "1/second"}}}, "log_ratelimit is a dict, not one value. Write it as the API does."),
    ({"rules": [{**R, "dport": "80"}]}, "rules[0] has dport without proto. Ports belong to tcp or udp."),
    ({"rules": [R, {**R, "proto": "tcp", "dport": "99999"}]}, "rules[1]: dport '99999' is no port. Write 443, 80,443 or 8000:8010."),
    ({"rules": [{**R, "action": "ALLOW"}]}, "rules[0]: action is 'ALLOW'. It can be ACCEPT, REJECT, DROP."),
    ({"rules": [{**R, "source": "10.0.0.300"}]}, "rules[0]: source '10.0.0.300' is no address."),
    ({"rules": [{**R, "comment": "x [homelab]"}]}, "rules[0]: comment ends with [homelab]. That mark is set by the module."),
    ({"rules": [{"type": "group", "action": "web", "dport": "80", "proto": "tcp"}]}, "rules[0] is of type group and has dport, proto."),
    ({"rules": [{"type": "group", "action": "a group"}]}, "rules[0]: action 'a group' is no name of a security group."),
    ({"rules": [{**R, "macro": "SSH", "dport": "22", "proto": "tcp"}]}, "rules[0] has a macro and dport. The macro says which ports."),
    ({"scope": "guest", "vmid": 200, "rules": [{**R, "type": "forward"}]}, "rules[0] is of type forward, which a guest does not have."),
    ({"groups": [{"name": "web", "rules": [{"type": "group", "action": "ab"}]}]}, "rules[0] of a group is of type group."),
    ({"groups": [{"name": "a-name-that-is-too-long"}]}, "group 'a-name-that-is-too-long' is not valid."),
    ({"aliases": [{"name": "1x", "cidr": "10.0.0.1"}]}, "alias '1x' is not valid."),
    ({"aliases": [{"name": "lan"}]}, "alias lan has no cidr."),
    ({"aliases": [{"name": "lan", "cidr": "10.0.0"}]}, "alias lan: '10.0.0' is no address or network."),
    ({"aliases": [{"name": "lan", "cidr": "10.0.0.1"}, {"name": "LAN", "cidr": "10.0.0.2"}]}, "The alias lan is wanted twice."),
    ({"ipsets": [{"name": "s1", "entries": [{"cidr": "0.0.0.0/0"}]}]}, "IP set s1: 0.0.0.0/0 is everything, which cannot stand there."),
    ({"ipsets": [{"name": "s1", "entries": [{"cidr": "10.0.3.9/24"}, {"cidr": "10.0.3.0/24"}]}]}, "IP set s1 has 10.0.3.0/24 twice."),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "message"), BAD, ids=[str(number) for number in range(len(BAD))])
def test_bad_input(entry: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        spec.wanted([{"scope": "datacenter", **entry}])
    assert message in caught.value.message


def test_one_firewall_twice() -> None:
    with pytest.raises(InvalidInput, match="guest/200 is wanted twice"):
        spec.wanted([{"scope": "guest", "vmid": 200}] * 2)
