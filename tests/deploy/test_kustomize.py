"""What ``kubectl apply -k deploy`` would apply, by kubectl itself where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBECTL = shutil.which("kubectl")


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
def test_kubectl_builds_all_that_the_folder_has_with_the_policy_among_it() -> None:
    done = subprocess.run(
        [str(KUBECTL), "kustomize", str(DEPLOY)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    built = [one for one in yaml.safe_load_all(done.stdout) if one]
    manifests = [
        yaml.safe_load(path.read_text()) for path in (DEPLOY / "kubernetes").glob("*.yaml")
    ]
    kinds = sorted(one["kind"] for one in built)
    assert kinds == sorted([*(one["kind"] for one in manifests), "ConfigMap"])
    [policy] = [one for one in built if one["kind"] == "ConfigMap"]
    assert policy["data"]["spillgate.yaml"] == (DEPLOY / "spillgate.yaml").read_text()
    assert {one["metadata"]["namespace"] for one in built if one["kind"] != "Namespace"} == {
        "spillgate"
    }
