"""The container's file, compose's and Kubernetes': their schemas, and that they fit together."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.policy.reader import load_policy

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
POLICY = (DEPLOY / "spillgate.yaml").read_text()
SECRETS = set(re.findall(r"\$\{(\w+)\}", POLICY))
KUBERNETES = "1.34"


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "kubernetes" / f"{name}.yaml").read_text())
    return found


def gateways() -> dict[str, dict[str, Any]]:
    return {name: one for name, one in compose()["services"].items() if name.startswith("gateway")}


def test_the_policy_loads_with_the_secrets_that_it_names() -> None:
    policy = load_policy(DEPLOY / "spillgate.yaml", dict.fromkeys(SECRETS, "secret"))
    assert policy.server.listen == ("0.0.0.0", 8443)
    assert policy.store.shared is not None


def test_what_the_image_copies_exists_and_its_extras_are_the_packages_own() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in re.findall(r"^COPY (?!--from)(.+)$", CONTAINERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', CONTAINERFILE)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    packages = {path.parent.name for path in ROOT.glob("*/py.typed")}
    copied = set(re.findall(r"^COPY (\w+) \1$", CONTAINERFILE, re.MULTILINE))
    assert packages == copied


def test_the_image_runs_as_nobody_in_particular_and_looks_after_itself() -> None:
    last = CONTAINERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert last.index("USER ") < last.index("ENTRYPOINT")
    assert "HEALTHCHECK" in last
    for image in re.findall(r"^FROM (\S+)", CONTAINERFILE, re.MULTILINE):
        assert image.endswith(":3.11-slim"), image


def test_compose_gives_each_gateway_a_place_of_its_own_and_every_secret() -> None:
    services, places = compose()["services"], set()
    assert len(gateways()) > 1
    for one in gateways().values():
        assert set(one["environment"]) == SECRETS
        assert one["read_only"] is True
        assert one["cap_drop"] == ["ALL"]
        places.add(one["volumes"][1].partition(":")[0])
    assert len(places) == len(gateways())
    mounted = [volume for one in services.values() for volume in one.get("volumes", ())]
    named = {volume.partition(":")[0] for volume in mounted if volume[0] not in "./"}
    assert named == set(compose()["volumes"])
    for one in services.values():
        for volume in one.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), source


def test_everything_that_compose_wants_to_be_told_is_in_the_example() -> None:
    wanted = set(re.findall(r"\$\{(\w+):\?\}", (DEPLOY / "compose.yaml").read_text()))
    given = set(re.findall(r"^(\w+)=", (DEPLOY / "environment.example").read_text(), re.MULTILINE))
    assert wanted == given
    secrets = (DEPLOY / "secrets.example").read_text()
    assert set(re.findall(r"^(\w+)=", secrets, re.MULTILINE)) == SECRETS


def test_whoever_stops_a_gateway_waits_for_longer_than_it_drains() -> None:
    policy = load_policy(DEPLOY / "spillgate.yaml", dict.fromkeys(SECRETS, "secret"))
    for one in gateways().values():
        assert int(one["stop_grace_period"].rstrip("s")) > policy.server.drain
    pod = manifest("deployment")["spec"]["template"]["spec"]
    before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > policy.server.drain + before
    unit = (DEPLOY / "systemd" / "spillgate.service").read_text()
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(stop) > policy.server.drain


@pytest.mark.parametrize("path", MANIFESTS, ids=[path.stem for path in MANIFESTS])
def test_a_manifest_is_what_kubernetes_takes(path: Path) -> None:
    """By the schemas of Kubernetes' own API, no field unknown."""
    kubernetes_validate.validate(yaml.safe_load(path.read_text()), KUBERNETES, strict=True)


def test_the_kustomization_names_every_manifest_and_the_policy() -> None:
    found = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
    assert sorted(found["resources"]) == [f"kubernetes/{path.name}" for path in MANIFESTS]
    (policy,) = found["configMapGenerator"]
    assert policy["files"] == ["spillgate.yaml"]
    pod = manifest("deployment")["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["policy"]["configMap"]["name"] == policy["name"]
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == set(volumes)


def test_the_pod_finds_each_secret_in_a_file() -> None:
    (container,) = manifest("deployment")["spec"]["template"]["spec"]["containers"]
    given = {one["name"]: one["value"] for one in container["env"]}
    assert given == {f"{name}_FILE": f"/etc/spillgate-secrets/{name}" for name in SECRETS}


def test_service_budget_and_network_choose_the_pods_of_the_deployment() -> None:
    labels = manifest("deployment")["spec"]["template"]["metadata"]["labels"]
    assert manifest("service")["spec"]["selector"] == labels
    assert manifest("budget")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("network")["spec"]["podSelector"]["matchLabels"] == labels
