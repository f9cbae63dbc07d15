"""`adgauge models verify | configure`: whether files, contracts and configuration fit together."""

from __future__ import annotations

import json
from pathlib import Path

from adgauge.adapters.triton.configuration import config_files, write_configs
from adgauge.contract import CONTRACT_FILE, ModelContract, load_contract, version_folders, wrong_files


def verify_model(folder: Path, *, as_json: bool) -> int:
    """Compare a version's files, or those of all versions and Triton's configuration, with the contracts.

    1 when a file is missing or different.
    """
    versions = {} if (folder / CONTRACT_FILE).is_file() else version_folders(folder)
    verified = [_verified(each) for each in versions.values() or [folder]]
    configuration = _wrong_configuration(folder) if versions else {}
    if as_json:
        documents = [_document(contract, wrong) for contract, wrong in verified]
        print(json.dumps({"versions": documents, "configuration": configuration}))
    else:
        for contract, wrong in verified:
            _print_version(contract, wrong)
        _print_configuration(configuration, checked=bool(versions))
    return 1 if configuration or any(wrong for _, wrong in verified) else 0


def configure_model(folder: Path) -> int:
    """Write Triton's configuration for the versions that are in a model's folder."""
    write_configs(folder)
    versions = ", ".join(map(str, version_folders(folder)))
    print(f"{folder.name} is configured with its versions {versions}: `adgauge models load {folder.name}`")
    return 0


def _verified(folder: Path) -> tuple[ModelContract, dict[str, str]]:
    contract = load_contract(folder)
    wrong = wrong_files(folder, contract)
    if (folder / CONTRACT_FILE).read_bytes() != contract.to_json().encode():
        wrong[CONTRACT_FILE] = "is not written as an export writes it; export the model again"
    return contract, wrong


def _wrong_configuration(model: Path) -> dict[str, str]:
    return {
        file: f"is not what the contracts give: `adgauge models configure {model}` writes it"
        for file, text in config_files(model).items()
        if not (model / file).is_file() or (model / file).read_bytes() != text.encode()
    }


def _document(contract: ModelContract, wrong: dict[str, str]) -> dict[str, object]:
    model = {"model": contract.name, "version": contract.version, "digest": contract.digest()}
    return model | {"files": len(contract.files()), "wrong": wrong}


def _print_version(contract: ModelContract, wrong: dict[str, str]) -> None:
    for name in [*contract.files(), CONTRACT_FILE]:
        print(f"FAIL {name} — {wrong[name]}" if name in wrong else f"ok   {name}")
    print(f"{contract.name} version {contract.version}, contract digest {contract.digest()}")


def _print_configuration(wrong: dict[str, str], *, checked: bool) -> None:
    for file, complaint in wrong.items():
        print(f"FAIL {file} — {complaint}")
    if checked and not wrong:
        print("ok   Triton's configuration names these contracts")
