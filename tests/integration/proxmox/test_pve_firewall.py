# SPDX-License-Identifier: GPL-3.0-or-later
"""``proxmox_firewall`` on the played Proxmox VE: truth, order, ways that stay open, and what is refused."""

from __future__ import annotations

import collections.abc
import json
import pathlib
import typing as t

import pytest
import yaml
from playing import play, tasks_of, without_ways
from pve_backups import made
from pve_lab import Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.modules import proxmox_firewall

PASS = {"type": "in", "action": "ACCEPT", "proto": "tcp", "dport": "8006", "comment": "api"}
SYSTEM = {"AnsibleSystem": ("/", "/nodes/pve1")}


@pytest.fixture
def wall(tmp_path: pathlib.Path) -> collections.abc.Iterator[PveLab]:
    """Two guests; the token may also change the datacenter and the node."""
    with PveLab(tmp_path, also=SYSTEM) as lab:
        guests(lab)
        yield lab


def guests(lab: PveLab) -> None:
    for vmid in (200, 201):
        made(lab, "/nodes/pve1/qemu", vmid=vmid, memory=64, name=f"vm{vmid}")


def run(lab: PveLab, *walls: dict[str, t.Any], check: bool = False, **more: t.Any) -> Outcome:
    return lab.run(proxmox_firewall, check=check, firewalls=json.loads(json.dumps(walls)), **more)


def truthful(lab: PveLab, *walls: dict[str, t.Any], **more: t.Any) -> Outcome:
    predicted = run(lab, *walls, check=True, **more)
    assert not predicted.result.get("failed"), predicted.result
    assert predicted.writes == []
    outcome = run(lab, *walls, **more)
    assert not outcome.result.get("failed"), outcome.result
    assert (outcome.changes, outcome.result["firewalls"]) == (predicted.changes, predicted.result["firewalls"])
    again = run(lab, *walls, **more)
    assert (again.changes, again.writes, again.result["changed"]) == ([], [], False)
    return outcome


def datacenter(**more: t.Any) -> dict[str, t.Any]:
    return {"scope": "datacenter", **more}


def guest(vmid: int = 200, **more: t.Any) -> dict[str, t.Any]:
    return {"scope": "guest", "vmid": vmid, **more}


def listed(lab: PveLab, path: str) -> t.Any:
    with lab.session() as session:
        return session.get(path)


def comments(lab: PveLab, path: str) -> list[str]:
    return [str(rule.get("comment", "")) for rule in listed(lab, path)]


def test_the_examples_run_the_same_in_both_ways(wall: PveLab) -> None:
    tasks = tasks_of(wall, proxmox_firewall.EXAMPLES)
    first, rest = tasks[:1], tasks[1:]
    here, there = (play(wall, first, "--check", "--diff", in_process=way) for way in (True, False))
    assert [without_ways(one) for one in here] == [without_ways(one) for one in there]
    results = play(wall, first, in_process=False) + play(wall, rest, in_process=True)
    assert [one.get("msg") for one in results if one.get("failed")] == []
    assert results[0]["changes"] == here[0]["changes"]
    assert all(one["changed"] for one in results)
    assert [one["changes"] for one in play(wall, tasks, in_process=True)] == [[]] * len(tasks)


def test_options_are_written_only_where_they_differ(wall: PveLab) -> None:
    wish = guest(options={"enable": True, "policy_in": "drop", "dhcp": "no", "log_level_in": "info"})
    outcome = truthful(wall, wish)
    assert outcome.changes == [
        {
            "resource": "firewall/guest/200/options",
            "action": "update",
            "before": {"enable": "0"},
            "after": {"enable": "1", "log_level_in": "info"},
        }
    ]
    assert outcome.writes == ["PUT /nodes/pve1/qemu/200/firewall/options"]
    gone = truthful(wall, guest(options={"log_level_in": "", "enable": None}))
    assert set(listed(wall, "/nodes/pve1/qemu/200/firewall/options")) == {"digest"}
    assert gone.changes[0]["before"] == {"enable": "1", "log_level_in": "info"}


def test_rules_come_in_their_order_and_blocking_ones_last(wall: PveLab) -> None:
    rules = [
        {"type": "in", "action": "ACCEPT", "macro": "HTTPS", "comment": "web"},
        {"type": "in", "action": "ACCEPT", "proto": "icmp", "icmp_type": "echo-request"},
        {"type": "in", "action": "DROP", "log": "info", "enabled": False},
        {"type": "in", "action": "DROP"},
    ]
    outcome = truthful(wall, guest(rules=rules))
    assert outcome.changes[0]["after"]["rules"] == [
        "in HTTPS ACCEPT # web [homelab]",
        "in ACCEPT proto=icmp icmp-type=echo-request # [homelab]",
        "in DROP log=info (off) # [homelab]",
        "in DROP # [homelab]",
    ]
    assert outcome.writes == ["POST /nodes/pve1/qemu/200/firewall/rules"] * 4 + [
        "PUT /nodes/pve1/qemu/200/firewall/rules/3"
    ]


def test_rules_of_others_stay_unless_the_list_is_ours_alone(wall: PveLab) -> None:
    path = "/nodes/pve1/qemu/200/firewall/rules"
    with wall.session() as session:
        for comment in ("theirs 2", "theirs 1"):
            session.post(path, {"type": "in", "action": "ACCEPT", "comment": comment}, asked="by hand")
    mine = [{"type": "in", "action": "ACCEPT", "macro": name, "comment": name} for name in ("SSH", "HTTP", "DNS")]
    truthful(wall, guest(rules=mine))
    assert comments(wall, path) == ["SSH [homelab]", "HTTP [homelab]", "DNS [homelab]", "theirs 1", "theirs 2"]
    with wall.session() as session:
        session.put(f"{path}/3", {"moveto": 0}, asked="by hand")
    outcome = truthful(wall, guest(rules=mine))
    assert len(outcome.writes) == 1
    shorter = truthful(wall, guest(rules=mine[1:]))
    assert shorter.writes == [f"DELETE {path}/0"]
    truthful(wall, guest(rules=mine[1:], exclusive=True))
    assert comments(wall, path) == ["HTTP", "DNS"]
    truthful(wall, guest(rules=[], exclusive=True))
    assert comments(wall, path) == []


def test_a_rule_that_drifted_is_edited_and_one_that_moved_is_moved(wall: PveLab) -> None:
    path = "/nodes/pve1/qemu/200/firewall/rules"
    mine = [{"type": "in", "action": "ACCEPT", "macro": name, "comment": name} for name in ("SSH", "HTTP", "DNS")]
    truthful(wall, guest(rules=mine, exclusive=True))
    with wall.session() as session:
        session.put(f"{path}/1", {"macro": "HTTPS", "log": "info"}, asked="by hand")
        session.put(f"{path}/0", {"moveto": 3}, asked="by hand")
    outcome = truthful(wall, guest(rules=mine, exclusive=True))
    assert outcome.writes == [f"PUT {path}/2", f"PUT {path}/1"]
    assert outcome.changes[0]["before"]["rules"] == [
        "in HTTPS ACCEPT log=info # HTTP",
        "in DNS ACCEPT # DNS",
        "in SSH ACCEPT # SSH",
    ]


def test_names_of_the_datacenter(wall: PveLab) -> None:
    wish = datacenter(
        aliases=[{"name": "Lab", "cidr": "192.168.30.7/24", "comment": "the lab"}],
        ipsets=[{"name": "admins", "entries": [{"cidr": "lab"}, {"cidr": "10.0.0.9/24"}, {"cidr": "10.0.0.1", "nomatch": True}]}],
        groups=[{"name": "web", "comment": "pages", "rules": [{"type": "in", "action": "ACCEPT", "macro": "HTTPS", "source": "+admins"}]}],
        rules=[{"type": "group", "action": "web"}, {"type": "in", "action": "ACCEPT", "source": "lab"}],
    )  # fmt: skip
    outcome = truthful(wall, wish)
    assert [change["resource"].removeprefix("firewall/datacenter/") for change in outcome.changes] == [
        "alias/lab",
        "ipset/admins",
        "group/web",
        "rules",
    ]
    assert outcome.changes[1]["after"]["entries"] == ["10.0.0.0/24", "! 10.0.0.1", "lab"]
    other = datacenter(
        aliases=[{"name": "lab", "cidr": "192.168.31.0/24", "comment": ""}],
        ipsets=[
            {"name": "ADMINS", "comment": "who", "entries": [{"cidr": "lab", "comment": "us"}, {"cidr": "fd00::/8"}]}
        ],
        groups=[{"name": "web", "comment": "", "rules": [{"type": "in", "action": "ACCEPT", "macro": "HTTP"}]}],
    )
    changed = truthful(wall, other)
    assert changed.changes[0] == {
        "resource": "firewall/datacenter/alias/lab",
        "action": "update",
        "before": {"cidr": "192.168.30.0/24", "comment": "the lab"},
        "after": {"cidr": "192.168.31.0/24"},
    }
    gone = datacenter(
        rules=[],
        aliases=[{"name": "lab", "state": "absent"}],
        ipsets=[{"name": "admins", "state": "absent"}, {"name": "never", "state": "absent"}],
        groups=[{"name": "web", "state": "absent"}],
    )
    assert [change["action"] for change in truthful(wall, gone).changes] == ["update", "delete", "delete", "delete"]
    for path in ("aliases", "ipset", "groups", "rules"):
        assert listed(wall, f"/cluster/firewall/{path}") == []


def test_a_macro_may_be_written_in_any_case(wall: PveLab) -> None:
    """The server keeps its own spelling."""
    rules = [{"type": "in", "action": "ACCEPT", "macro": macro} for macro in ("https", "PING", "SSH")]
    truthful(wall, guest(rules=rules), datacenter(groups=[{"name": "pages", "rules": [rules[0]]}]))
    assert [rule["macro"] for rule in listed(wall, "/nodes/pve1/qemu/200/firewall/rules")] == ["HTTPS", "Ping", "SSH"]
    with wall.session() as session:
        form = {"type": "in", "action": "ACCEPT", "macro": "hTTp"}
        session.post("/nodes/pve1/qemu/201/firewall/rules", form, asked="the server's own way")
    assert listed(wall, "/nodes/pve1/qemu/201/firewall/rules")[0]["macro"] == "HTTP"


def test_a_security_group_may_be_written_in_any_case(wall: PveLab) -> None:
    """The server keeps names of groups in lower case, but takes the word of a rule as it is: without effect."""
    group = {"name": "WebServers", "rules": [{"type": "in", "action": "ACCEPT", "macro": "HTTPS"}]}
    rules = [{"type": "group", "action": "WebServers"}]
    truthful(wall, datacenter(groups=[group]), guest(rules=rules))
    assert [one["group"] for one in listed(wall, "/cluster/firewall/groups")] == ["webservers"]
    assert [rule["action"] for rule in listed(wall, "/nodes/pve1/qemu/200/firewall/rules")] == ["webservers"]
    gone = datacenter(groups=[{"name": "WEBSERVERS", "state": "absent"}])
    assert truthful(wall, guest(rules=[]), gone).actions[-1] == "firewall/datacenter/group/webservers delete"


def test_what_is_not_named_stays(wall: PveLab) -> None:
    truthful(wall, datacenter(ipsets=[{"name": "admins", "comment": "c", "entries": [{"cidr": "10.0.0.1"}]}]))
    assert truthful_nothing(wall, datacenter(ipsets=[{"name": "admins"}], options={}))
    assert listed(wall, "/cluster/firewall/ipset/admins")[0]["cidr"] == "10.0.0.1"


def truthful_nothing(lab: PveLab, *walls: dict[str, t.Any]) -> bool:
    outcome = run(lab, *walls)
    return (outcome.changes, outcome.writes) == ([], [])


def test_many_guests_are_one_list_and_a_no_op_writes_nothing(wall: PveLab) -> None:
    walls = [guest(vmid, options={"enable": True}, rules=[PASS]) for vmid in (200, 201)]
    truthful(wall, *walls)
    again = run(wall, *walls)
    assert len(again.requests) == 1 + 2 * 2
    assert again.writes == []


def test_a_node(wall: PveLab) -> None:
    wish = {"scope": "node", "node": "pve1", "options": {"log_level_in": "info", "ndp": True}, "rules": [PASS]}
    outcome = truthful(wall, wish)
    assert [change["resource"] for change in outcome.changes] == [
        "firewall/node/pve1/rules",
        "firewall/node/pve1/options",
    ]


# -- ways that stay open ---------------------------------------------------------------------------------------------


def test_switching_the_firewall_on_without_a_way_in_is_refused(wall: PveLab) -> None:
    for check in (True, False):
        outcome = run(wall, datacenter(options={"enable": True}), check=check)
        assert (
            "Refused, because the firewall of the datacenter would let nobody reach the API on port 8006"
            in (outcome.result["msg"])
        )
        assert "Put the controller's network into the IP set management" in outcome.result["msg"]
        assert outcome.writes == []
    truthful(wall, datacenter(options={"enable": True}), allow_lockout=True)


def test_the_firewall_goes_on_after_everything_that_lets_people_in(wall: PveLab) -> None:
    wish = datacenter(
        options={"enable": True}, rules=[PASS], ipsets=[{"name": "management", "entries": [{"cidr": "10.0.0.1"}]}]
    )
    outcome = truthful(wall, wish)
    assert outcome.writes[-1] == "PUT /cluster/firewall/options"
    off = truthful(
        wall, datacenter(options={"enable": False}, rules=[], ipsets=[{"name": "management", "state": "absent"}])
    )
    assert off.writes[0] == "PUT /cluster/firewall/options"


def test_taking_the_last_way_in_away_is_refused(wall: PveLab) -> None:
    truthful(wall, datacenter(options={"enable": True}, rules=[PASS]))
    assert "Refused, because" in run(wall, datacenter(rules=[])).result["msg"]
    blocked = datacenter(rules=[{"type": "in", "action": "DROP"}, PASS])
    assert "Refused, because" in run(wall, blocked).result["msg"]
    by_node = {"scope": "node", "node": "pve1", "rules": [{"type": "in", "action": "REJECT", "proto": "tcp"}]}
    assert "the rules of node/pve1 would let nobody reach its API" in run(wall, by_node).result["msg"]


# -- what is not there -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (guest(299), "There is no guest 299."),
        ({"scope": "node", "node": "pve9", "options": {"enable": True}}, "hostname lookup 'pve9' failed"),
        (guest(rules=[{"type": "in", "action": "ACCEPT", "source": "+nobody"}]), "A rule of guest/200 uses the IP set 'nobody', which does not exist"),
        (guest(rules=[{"type": "in", "action": "ACCEPT", "dest": "lan"}]), "A rule of guest/200 uses the alias 'lan', which does not exist"),
        (guest(rules=[{"type": "group", "action": "web"}]), "A rule uses the security group 'web', which does not exist"),
        (guest(rules=[{"type": "in", "action": "ACCEPT", "macro": "HTPS"}]), "There is no macro 'HTPS'. Did you mean HTTPS"),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_said_before_anything_is_written(
    wall: PveLab, wish: dict[str, t.Any], message: str
) -> None:
    for check in (True, False):
        outcome = run(wall, wish, check=check)
        assert message in outcome.result["msg"]
        assert outcome.writes == []


def test_a_guest_that_is_still_to_be_made_is_predicted(wall: PveLab) -> None:
    outcome = run(wall, guest(299, options={"enable": True}, rules=[PASS]), check=True, planned_guests=[299])
    assert [change["resource"] for change in outcome.changes] == [
        "firewall/guest/299/rules",
        "firewall/guest/299/options",
    ]


def test_missing_rights_are_named_with_their_path(tmp_path: pathlib.Path) -> None:
    with PveLab(tmp_path) as lab:
        lab.needs_least_rights()
        guests(lab)
        outcome = run(lab, {"scope": "node", "node": "pve1", "options": {"enable": False}}, check=True)
        assert "Sys.Modify on /nodes/pve1 (change the firewall of node/pve1)" in outcome.result["msg"]
        assert outcome.writes == []
        assert truthful(lab, guest(rules=[PASS]))


@pytest.mark.sends_bad_requests("without the right to read the datacenter's firewall")
def test_who_may_not_read_is_told(pve: PveLab) -> None:
    pve.needs_least_rights()
    outcome = run(pve, datacenter(options={"enable": False}))
    assert "Sys.Audit" in outcome.result["msg"]
    assert outcome.result["error"]["kind"] == "AccessDenied"


# -- faults ----------------------------------------------------------------------------------------------------------

WISH = datacenter(
    rules=[PASS, {"type": "in", "action": "DROP", "comment": "rest"}],
    ipsets=[{"name": "management", "comment": "c", "entries": [{"cidr": "10.0.0.1"}, {"cidr": "10.0.0.2"}]}],
    groups=[{"name": "web", "rules": [{"type": "in", "action": "ACCEPT", "macro": "HTTPS"}]}],
    options={"enable": True},
)


@pytest.mark.parametrize("nth", range(1, 11))
@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "cut", "garbage"])
def test_a_lost_answer_is_looked_after_in_the_same_run(wall: PveLab, fault: str, nth: int) -> None:
    wall.fault(fault, path="/cluster/firewall*", writes=True, nth=nth)
    outcome = run(wall, WISH)
    assert not outcome.result.get("failed"), outcome.result
    assert truthful_nothing(wall, WISH)
    assert comments(wall, "/cluster/firewall/rules") == ["api [homelab]", "rest [homelab]"]


@pytest.mark.parametrize("nth", [1, 5, 8])
def test_a_run_that_was_stopped_in_the_middle_is_finished_by_the_next(wall: PveLab, nth: int) -> None:
    wall.fault(
        "answer", path="/cluster/firewall*", writes=True, nth=nth, times=0, status=500, text="the cluster is not ready"
    )
    outcome = run(wall, WISH)
    assert "the cluster is not ready" in outcome.result["msg"]
    for rule in listed(wall, "/cluster/firewall/rules"):
        assert rule["action"] == "ACCEPT" or not rule["enable"]
    wall.faults.clear()
    again = run(wall, WISH)
    assert not again.result.get("failed"), again.result
    assert truthful_nothing(wall, WISH)


def test_somebody_else_who_writes_meanwhile_is_not_overwritten(wall: PveLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between plan and write a rule is added by hand: the list is looked at again, and the rule stays."""
    from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.firewall import firewall_apply

    path, real = "/nodes/pve1/qemu/200/firewall/rules", firewall_apply.Applier._rules
    added: list[int] = []

    def late(self: t.Any, operation: t.Any) -> None:
        if not added:
            with wall.session() as session:
                session.post(path, {"type": "in", "action": "ACCEPT", "comment": "by hand"}, asked="by hand")
            added.append(1)
        real(self, operation)

    monkeypatch.setattr(firewall_apply.Applier, "_rules", late)
    outcome = run(wall, guest(rules=[PASS]))
    assert not outcome.result.get("failed"), outcome.result
    assert comments(wall, path) == ["api [homelab]", "by hand"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            {"status": 401, "text": "Authentication failed!"},
            "401 Authentication failed!, asked as ansible@pve!groundwork",
        ),
        ({"status": 302, "text": "Found"}, "the answer is a redirect"),
        ({"status": 403, "text": "Permission check failed (/, Sys.Modify)"}, "the right Sys.Modify on /"),
    ],
)
def test_refusals_are_told(wall: PveLab, fault: dict[str, t.Any], message: str) -> None:
    wall.fault("answer", path="/cluster/firewall*", times=0, **fault)
    assert message in run(wall, WISH).result["msg"]


@pytest.mark.parametrize("fault", [{"status": 429, "text": "slow down"}, {"status": 500, "text": "got no worker upid"}])
def test_a_busy_server_is_asked_again(wall: PveLab, fault: dict[str, t.Any]) -> None:
    wall.fault("answer", path="/cluster/firewall*", writes=True, **fault)
    assert not run(wall, WISH).result.get("failed")


def test_the_documentation_is_one_that_loads() -> None:
    document = yaml.safe_load(proxmox_firewall.DOCUMENTATION)
    assert set(document["options"]) == {"firewalls", "allow_lockout", "planned_guests"}
