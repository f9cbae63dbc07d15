"""`adgauge models verify`: whether these are the files that the contract speaks of."""

from __future__ import annotations

import json
from pathlib import Path

from adgauge.contract import load_contract, wrong_files


def verify_model(model_dir: Path, *, as_json: bool) -> int:
    """Hash every file that the contract names; 1 when one is missing or different."""
    contract = load_contract(model_dir)
    wrong = wrong_files(model_dir, contract)
    if as_json:
        model = {"model": contract.name, "version": contract.version, "digest": contract.digest()}
        print(json.dumps(model | {"files": len(contract.files()), "wrong": wrong}))
        return 1 if wrong else 0
    for name in contract.files():
        print(f"FAIL {name} — {wrong[name]}" if name in wrong else f"ok   {name}")
    print(f"{contract.name} version {contract.version}, contract digest {contract.digest()}")
    return 1 if wrong else 0
