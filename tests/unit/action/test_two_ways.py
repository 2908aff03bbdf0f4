# SPDX-License-Identifier: GPL-3.0-or-later
"""A module gives the same result in the controller and in a process of its own."""

from __future__ import annotations

import typing as t

PROBE = "groundwork.homelab.probe"
SECRET = "hunter2-the-second"
CASES: dict[str, dict[str, t.Any]] = {
    "plain": {"name": "a"},
    "alias": {"title": "a", "size": "12"},
    "both_alias": {"title": "a", "name": "b"},
    "deprecated": {"name": "a", "old": True},
    "types": {
        "name": 5,
        "path": "~/x",
        "when": {"a": [1, 2.5, None, True]},
        "nested": [{"key": SECRET}, {"count": "4"}],
    },
    "bad_type": {"name": "a", "size": "many"},
    "bad_type_of_a_secret": {"name": "a", "size": SECRET, "password": SECRET},
    "bad_choice": {"name": "a", "colour": "green"},
    "missing_option": {"size": 1},
    "unknown": {"name": "a", "colr": "red"},
    "unknown_nested": {"name": "a", "nested": [{"kye": "x"}]},
    "exclusive": {"name": "a", "colour": "red", "path": "/x"},
    "required_if": {"name": "a", "behave": "fail"},
    "required_by": {"name": "a", "endpoint": "x"},
    "failing": {"name": "a", "behave": "fail", "colour": "red", "password": SECRET},
    "half_done": {"name": "a", "behave": "made"},
    "warning": {"name": "a", "behave": "warn", "password": SECRET},
    "echoing": {"name": "a", "behave": "echo", "password": SECRET, "nested": [{"key": "deep-" + SECRET}]},
    "late_secret": {"name": "a", "behave": "late_secret"},
    "crashing": {"name": "a", "behave": "crash", "password": SECRET},
    "no_package": {"name": "a", "behave": "missing"},
}
#: What only a process of its own brings, or says in other words.
ONLY_A_PROCESS = {"ansible_facts", "exception", "deprecations"}


def tasks_of(way: bool) -> list[dict[str, t.Any]]:
    variables = {"groundwork_in_process": way}
    prefix = "here" if way else "there"
    return [{"name": f"{prefix}_{name}", PROBE: dict(case), "vars": variables} for name, case in CASES.items()]


def comparable(result: dict[str, t.Any]) -> dict[str, t.Any]:
    return {key: value for key, value in result.items() if key not in ONLY_A_PROCESS}


def test_results_and_errors_are_equal_both_ways(play: t.Callable[..., t.Any]) -> None:
    outcome = play([*tasks_of(True), *tasks_of(False)], "--diff")
    assert len(outcome.results) == 2 * len(CASES), outcome.text
    for name in CASES:
        here, there = outcome.results[f"here_{name}"], outcome.results[f"there_{name}"]
        assert comparable(here) == comparable(there), name
    assert SECRET not in outcome.text
    assert "found-at-run-time" not in outcome.text


def test_check_mode_and_diff_reach_the_core_both_ways(play: t.Callable[..., t.Any]) -> None:
    both = [
        {"name": f"w{way:d}", PROBE: {"name": "a"}, "vars": {"groundwork_in_process": way}} for way in (True, False)
    ]
    for options in ((), ("--check",), ("--check", "--diff")):
        results = play(both, *options).results
        assert comparable(results["w1"]) == comparable(results["w0"])
        assert ("diff" in results["w1"]) == ("--diff" in options)
        assert results["w1"]["changed"] is True


def test_the_environment_and_directory_of_the_task_are_the_modules(play: t.Callable[..., t.Any]) -> None:
    both = [
        {
            "name": f"w{way:d}",
            PROBE: {"name": "a", "colour": "red"},
            "environment": {"PROBE_ENDPOINT": "there", "PROBE_SEEN": "yes"},
            "vars": {"groundwork_in_process": way},
        }
        for way in (True, False)
    ]
    results = play([*both, {"name": "after", PROBE: {"name": "a"}}]).results
    assert results["w1"]["params"]["endpoint"] == "there"
    assert results["w1"]["seen"] == "yes"
    assert comparable(results["w1"]) == comparable(results["w0"])
    assert results["after"]["seen"] is None


def test_module_defaults_of_a_group_reach_its_modules_and_no_others(play: t.Callable[..., t.Any]) -> None:
    defaults = {
        "group/groundwork.homelab.proxmox": {"size": 7},
        "group/groundwork.homelab.kubernetes": {"colour": "blue"},
        "groundwork.homelab.other": {"endpoint": "mine"},
    }
    tasks = [{"name": "probe", PROBE: {"name": "a"}}, {"name": "other", "groundwork.homelab.other": {"name": "a"}}]
    results = play(tasks, module_defaults=defaults).results
    probe, other = results["probe"]["params"], results["other"]["params"]
    assert (probe["size"], probe["colour"], probe["endpoint"]) == (7, None, None)
    assert (other["size"], other["colour"], other["endpoint"]) == (3, "blue", "mine")


def test_a_short_name_with_collections_works(play: t.Callable[..., t.Any]) -> None:
    results = play([{"name": "short", "probe": {"name": "a"}}], collections=["groundwork.homelab"]).results
    assert results["short"]["changed"] is True


def test_a_crash_shows_its_traceback_only_on_demand_and_never_a_secret(play: t.Callable[..., t.Any]) -> None:
    crash = {"name": "a", "behave": "crash", "password": SECRET}
    tasks = [
        {"name": f"w{way:d}", PROBE: crash, "vars": {"groundwork_in_process": way}, "no_log": False}
        for way in (True, False)
    ]
    quiet = play(tasks, "-vvv")
    loud = play(tasks, "-vvv", env={"ANSIBLE_DISPLAY_TRACEBACK": "always"})
    assert "Traceback" not in quiet.text
    assert loud.text.count("RuntimeError: boom ********") >= 2
    assert SECRET not in quiet.text.replace(f"password: {SECRET}", "")
    assert SECRET not in loud.text.replace(f"password: {SECRET}", "")


def test_progress_is_shown_live_once_and_without_secrets(play: t.Callable[..., t.Any]) -> None:
    said = {"name": "a", "behave": "wait", "password": SECRET}
    text = play([{"name": "w", PROBE: said}]).text
    assert text.count("… waiting for the kettle: ******** is cold") == 1
    assert "… waiting for the kettle: ******** is warm" in text
    assert "kettle" not in play([{"name": "w", PROBE: said, "no_log": True}]).text


def test_other_machines_become_and_async_go_the_ordinary_way(play: t.Callable[..., t.Any]) -> None:
    where = {"name": "a", "behave": "where"}
    far = {"ignore_unreachable": True, "vars": {"ansible_connection": "ssh", "ansible_ssh_common_args": "-F /dev/null"}}
    tasks = [
        {"name": "here", PROBE: where, "delegate_to": "127.0.0.1", "vars": {"ansible_connection": "local"}},
        {"name": "polled", PROBE: where, "async": 30, "poll": 1},
        {"name": "become", PROBE: where, "become": True, "become_method": "ansible.builtin.su"},
        {"name": "far", PROBE: where, "delegate_to": "far.invalid", **far},
    ]
    outcome = play(tasks)
    assert outcome.results["here"]["in_controller"] is True, outcome.text
    assert outcome.results["polled"]["in_controller"] is False
    assert outcome.results["become"].get("in_controller", False) is False
    assert outcome.results["far"]["unreachable"] is True


def test_a_plugin_and_its_heavy_imports_are_loaded_once_before_ansible_forks(play: t.Callable[..., t.Any]) -> None:
    where = {"name": "a", "behave": "where"}
    results = play([{"name": "one", PROBE: where}, {"name": "two", PROBE: where}]).results
    for name in ("one", "two"):
        assert results[name]["loaded_before_the_fork"] is True
        assert results[name]["heavy"] is True
