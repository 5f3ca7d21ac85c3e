"""An overlay of a user's own, on one of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from scripts.manifests import Manifest, render
from tests.equipment.support import ROOT


@pytest.fixture
def own_overlay(tmp_path: Path) -> Callable[..., list[Manifest]]:
    """Renders a kustomization of these fields that stands on an overlay of ours."""
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")

    def rendered(name: str, **fields: object) -> list[Manifest]:
        folder = tmp_path / "shop"
        folder.mkdir()
        content = {"namespace": "alphadrop", "resources": [f"../deploy/k8s/overlays/{name}"], **fields}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
        return render(folder)

    return rendered
