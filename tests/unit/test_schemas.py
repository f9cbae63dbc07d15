import json
from collections.abc import Iterator
from typing import Any

import pytest

from tools.schemas import documents


@pytest.mark.parametrize(("path", "text"), documents().items(), ids=lambda value: getattr(value, "name", ""))
def test_published_contracts_are_what_the_models_generate(path: Any, text: str) -> None:
    assert path.read_text() == text, "run `python -m tools.schemas` and commit the difference"


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


@pytest.mark.parametrize("text", documents().values(), ids=[path.name for path in documents()])
def test_every_reference_in_a_published_contract_leads_somewhere(text: str) -> None:
    document = json.loads(text)
    found = list(references(document))

    assert found
    for reference in found:
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
