"""`adgauge models verify`: whether these are the files that the contract speaks of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from adgauge.contract import ModelContract, file_sha256, load_contract

_REMEDY = "assemble or export the model again"


def verify_model(model_dir: Path, *, as_json: bool) -> int:
    """Hash every file that the contract names; 1 when one is missing or different."""
    contract = load_contract(model_dir)
    expected, wrong = _expected(contract), wrong_files(model_dir, contract)
    if as_json:
        model = {"model": contract.name, "version": contract.version, "digest": contract.digest()}
        print(json.dumps(model | {"files": len(expected), "wrong": wrong}))
        return 1 if wrong else 0
    for name in expected:
        print(f"FAIL {name} — {wrong[name]}" if name in wrong else f"ok   {name}")
    print(f"{contract.name} version {contract.version}, contract digest {contract.digest()}")
    return 1 if wrong else 0


def wrong_files(model_dir: Path, contract: ModelContract) -> dict[str, str]:
    """What is wrong with each file that is missing or not the contract's."""
    return dict(_differences(model_dir, _expected(contract)))


def _expected(contract: ModelContract) -> dict[str, str]:
    return {contract.spec.text.tokenizer: contract.spec.text.tokenizer_sha256, **contract.weights}


def _differences(model_dir: Path, expected: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, sha256 in expected.items():
        try:
            found = file_sha256(model_dir / name)
        except OSError as exc:
            yield name, f"cannot be read: {exc.strerror}; {_REMEDY}"
            continue
        if found != sha256:
            yield name, f"sha256 is {found}, the contract says {sha256}; {_REMEDY}"
