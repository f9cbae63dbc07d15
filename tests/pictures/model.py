"""The model `brightness` with the text of the default model: scores are known, and texts cost what they cost.

Its graph looks at no text, but its contract takes titles, features and descriptions through the same template
and tokenizer, so that the texts of two products are two contents.
"""

import hashlib
import shutil
from pathlib import Path

from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.golden import canonicalize_golden, golden_line, load_golden
from adgauge.contract import CONTRACT_FILE, GOLDEN_FILE, ModelContract, load_contract
from services.embedded.settings import EmbeddedSettings
from tests.brightness import export_brightness, grey_score, product

GREYS = {"GOLD1": 200, "GOLD2": 20, "GOLD3": None}
TEXT_OF = "effimini_lite0"


def export_wordy_brightness(repository: Path) -> Path:
    """Write the model below `repository` and return its folder."""
    folder = export_brightness(repository)
    before = load_contract(folder)
    real = EmbeddedSettings().model_repository / TEXT_OF / "1"
    text = load_contract(real).spec.text
    shutil.copy(real / text.tokenizer, folder / text.tokenizer)
    assert hashlib.sha256((folder / text.tokenizer).read_bytes()).hexdigest() == text.tokenizer_sha256
    ours = before.model_copy(update={"spec": before.spec.model_copy(update={"text": text})})
    (folder / CONTRACT_FILE).write_text(ours.to_json())
    config = folder.parent / "config.pbtxt"
    config.write_text(config.read_text().replace(before.digest(), ours.digest()))
    _write_golden(folder, ours)
    return folder


def _write_golden(folder: Path, contract: ModelContract) -> None:
    products = {name: product(name, grey) for name, grey in GREYS.items()}
    path = folder / GOLDEN_FILE
    path.write_text("".join(golden_line(each, "", 0.0) + "\n" for each in products.values()))
    inputs = canonicalize_golden(Canonicalizer(contract, folder), load_golden(path))
    lines = [
        golden_line(products[name], made.digest, grey_score(grey or 0)) + "\n"
        for (name, grey), made in zip(GREYS.items(), inputs, strict=True)
    ]
    path.write_text("".join(lines))
