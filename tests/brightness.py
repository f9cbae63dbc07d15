"""The model `brightness` as an export: repository folder, contract, golden records, tokenizer.

Its score is 1 + 4 * mean(image) / 255, so a test knows every score without asking the product.
"""

import base64
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.golden import canonicalize_golden, golden_line, load_golden
from adgauge.contract import CONTRACT_FILE, GOLDEN_FILE, ModelContract, digest_parameter, load_contract

SOURCE = Path(__file__).parent / "models/brightness"
SIDE = 224
POISON = "poison"
"""A title with this word breaks the model."""


def grey_score(level: int) -> float:
    return 1 + 4 * level / 255


def grey_url(level: int) -> str:
    """A picture of one grey, as a `data:` URL."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8), level).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def product(product_id: str, level: int | None, title: str = "a thing") -> dict[str, object]:
    """A catalog product whose only picture is `level` grey; None: it has none."""
    images = [] if level is None else [{"variant": "MAIN", "large": grey_url(level)}]
    return {"parent_asin": product_id, "title": title, "images": images}


def product_bytes(product_id: str, level: int | None, title: str = "a thing") -> bytes:
    return json.dumps(product(product_id, level, title)).encode()


def contract(tokenizer: bytes, target: str) -> ModelContract:
    text = {
        "parts": [{"field": "title", "prefix": "", "joiner": " "}],
        "instruction": "",
        "separator": " ",
        "tokenizer": "tokenizer.json",
        "tokenizer_sha256": hashlib.sha256(tokenizer).hexdigest(),
        "token_limit": 16,
        "ladder": [4, 16],
        "pad_id": 0,
    }
    image = {
        "count": 1,
        "candidates": 1,
        "selection": "first",
        "height": SIDE,
        "width": SIDE,
        "collage": [],
        "interpolation": "bilinear",
        "fit": "squash",
        "jpeg_scaling": False,
        "required": False,
    }
    return ModelContract.model_validate(
        {
            "name": "brightness",
            "version": 1,
            "target": target,
            "precision": "fp32",
            "cpu_runtime": "onnxruntime",
            "spec": {"image": image, "text": text, "categories": [], "numeric": []},
            "inputs": [
                {"name": "image", "dtype": "uint8", "shape": [3, SIDE, SIDE], "holds": "image"},
                {"name": "has_image", "dtype": "float32", "shape": [1], "holds": "has_image"},
                {"name": "input_ids", "dtype": "int64", "shape": [-1], "holds": "token_ids"},
                {"name": "attention_mask", "dtype": "int64", "shape": [-1], "holds": "token_mask"},
            ],
            "outputs": [{"name": "score", "dtype": "float32", "shape": [1], "holds": "score"}],
            "weights": {},
            "companions": {},
            "score_range": [1.0, 5.0],
            "tolerance": 1e-4,
            "protocol": {
                "fixed_size": True,
                "fixed_token_limit": True,
                "single_forward": True,
                "test_time_augmentation": False,
                "ensemble": False,
            },
            "cost": {"params": 1, "flops": 3 * SIDE * SIDE, "counter": "by hand"},
            "provenance": {"recipe": "none", "data": "none", "revision": "none"},
        }
    )


def export_brightness(repository: Path, target: str = "average_rating") -> Path:
    """Write version 1 of the model below `repository` and return its folder, as an exporter would.

    Another `target` is another contract.
    """
    shutil.copytree(SOURCE, repository / "brightness")
    folder = repository / "brightness" / "1"
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "a": 2, "thing": 3, POISON: 666}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - not that kind of token
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    ours = contract((folder / "tokenizer.json").read_bytes(), target)
    (folder / CONTRACT_FILE).write_text(ours.to_json())
    _write_golden(folder, ours)
    with (repository / "brightness" / "config.pbtxt").open("a") as config:
        digest = f'{{ string_value: "{ours.digest()}" }}'
        config.write(f'parameters {{ key: "{digest_parameter(ours.version)}" value: {digest} }}\n')
    return folder


def add_inverted(first: Path) -> Path:
    """Write version 2 beside version 1 and configure both: it scores 6 less what version 1 scores."""
    folder = Path(shutil.copytree(first, first.parent / "2"))
    code = (folder / "model.py").read_text()
    (folder / "model.py").write_text(code.replace("(1 + 4 * brightness / 255)", "(5 - 4 * brightness / 255)"))
    ours = load_contract(first).model_copy(update={"version": 2})
    (folder / CONTRACT_FILE).write_text(ours.to_json())
    _write_golden(folder, ours, lambda level: 6 - grey_score(level))
    with (first.parent / "config.pbtxt").open("a") as config:
        digest = f'{{ string_value: "{ours.digest()}" }}'
        config.write(f'parameters {{ key: "{digest_parameter(2)}" value: {digest} }}\n')
        config.write("version_policy { all { } }\n")
    return folder


def _write_golden(folder: Path, ours: ModelContract, score: Callable[[int], float] = grey_score) -> None:
    levels = {"GOLD1": 200, "GOLD2": 20, "GOLD3": None}
    products = {name: product(name, level) for name, level in levels.items()}
    path = folder / GOLDEN_FILE
    path.write_text("".join(golden_line(each, "", 0.0) + "\n" for each in products.values()))
    inputs = canonicalize_golden(Canonicalizer(ours, folder), load_golden(path))
    lines = [
        golden_line(products[name], made.digest, score(level or 0)) + "\n"
        for (name, level), made in zip(levels.items(), inputs, strict=True)
    ]
    path.write_text("".join(lines))
