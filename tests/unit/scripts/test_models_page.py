"""The table of known models in docs/models.md is current."""

from __future__ import annotations

from inference.models.thirdparty.contracts import CONTRACTS
from inference.models.thirdparty.known import KNOWN
from scripts.models_page import BEGIN, END, PAGE, render


def test_the_table_is_generated_from_the_registry() -> None:
    page = PAGE.read_text("utf-8")
    assert page.count(BEGIN) == page.count(END) == 1
    assert page == render(page), "run `make reference`"


def test_every_known_model_has_two_digests_a_contract_and_a_licence() -> None:
    for model in KNOWN.values():
        assert len(model.sha256) == 64 and len(model.md5) in (0, 32) and int(model.sha256 + model.md5, 16)
        assert model.contract in CONTRACTS and model.licence.url.startswith("https://") and model.bytes > 1e6
    assert [model.name for model in KNOWN.values() if not model.licence.commercial] == ["bria-rmbg"]
    assert [model.name for model in KNOWN.values() if not model.md5] == ["bria-rmbg"]  # rembg states its SHA-256
    assert len({model.sha256 for model in KNOWN.values()}) == len(KNOWN)
