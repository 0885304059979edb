"""The files in docs/deploy.md are whole: what is copied from there starts."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.gateway import Gateway

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "deploy.md").read_text()
FILES: dict[str, list[str]] = {}
for language, text in re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL):
    FILES.setdefault(language, []).append(text)
COMPOSE, KUBERNETES = (yaml.safe_load(text) for text in FILES["yaml"])


def seconds(said: str) -> int:
    return int(said.removesuffix("s"))


def test_the_compose_file_hands_on_what_the_configuration_beside_it_reads() -> None:
    own = COMPOSE["services"]["dragoman"]
    read = re.findall(r"env:([A-Z_]+)\??\"", PAGE)
    assert set(read) == {"DATABASE_URL", "REDIS_URL", "PUBLIC_URL"}
    assert set(read) <= own["environment"].keys()
    assert set(own["depends_on"]) == COMPOSE["services"].keys() - {"dragoman"}
    mounts = [mount for each in COMPOSE["services"].values() for mount in each.get("volumes", ())]
    named = {mount.partition(":")[0] for mount in mounts}
    assert COMPOSE["volumes"].keys() == {name for name in named if not name.startswith(".")}


def test_what_is_mounted_is_where_the_image_looks() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    places = [mount["mountPath"] + "/" for mount in KUBERNETES["spec"]["containers"][0]["volumeMounts"]] + [
        mount.split(":")[1] for mount in COMPOSE["services"]["dragoman"]["volumes"]
    ]
    assert places == ["/etc/dragoman/", "/etc/dragoman/providers.yaml", "/var/lib/dragoman/state"]
    assert "DRAGOMAN_CONFIG=/etc/dragoman/providers.yaml" in dockerfile
    assert "VOLUME /var/lib/dragoman/state" in dockerfile
    (container,) = KUBERNETES["spec"]["containers"]
    assert [each["containerPort"] for each in container["ports"]] == [8080]
    assert COMPOSE["services"]["dragoman"]["ports"] == ["8080:8080"]
    assert KUBERNETES["spec"]["securityContext"] == {"runAsNonRoot": True, "fsGroup": 10001}


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_a_probe_is_answered_without_a_key(gateway: Gateway, probe: str) -> None:
    (container,) = KUBERNETES["spec"]["containers"]
    reply = gateway.http.get(gateway.base_url + container[probe]["httpGet"]["path"])
    assert reply.status_code == 200


def test_each_way_to_run_it_waits_as_long_as_the_server_drains() -> None:
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(FILES["ini"][0])
    given = [
        KUBERNETES["spec"]["terminationGracePeriodSeconds"] - 5,  # server.lead
        seconds(COMPOSE["services"]["dragoman"]["stop_grace_period"]),
        int(unit["Service"]["TimeoutStopSec"]),
    ]
    assert min(given) > 30  # server.drain


@pytest.mark.parametrize("kind", ["nginx", "caddyfile"])
def test_blocks_of_a_proxys_configuration_are_closed(kind: str) -> None:
    """Caddy reads one directive a line: `transport http { ... }` on one line is an error there."""
    depth = 0
    for line in FILES[kind][0].splitlines():
        line = line.partition("#")[0].rstrip()
        if kind == "caddyfile":
            assert "{" not in line.rstrip("{"), line
        depth += line.count("{") - line.count("}")
        assert depth >= 0
    assert depth == 0


def test_the_extras_that_are_named_can_be_installed() -> None:
    project: Any = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (asked,) = re.findall(r"pip install '\.\[([\w,]+)\]'", PAGE)
    (listed,) = re.findall(r"^Extras: (.*)", PAGE, re.MULTILINE)
    named = {*asked.split(","), *re.findall(r"`(\w+)`", listed)}
    assert named <= project["project"]["optional-dependencies"].keys()
