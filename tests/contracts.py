"""Contracts and a tokenizer for tests: small, valid, and saying everything that a contract must say."""

from __future__ import annotations

import string
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from adgauge.contract import ImageSpec, ModelContract, TensorSpec, TextPart, TextSpec

TOKENIZER_FILE = "tokenizer.json"
WORDS = ("red", "blue", "shoe", "bag", "title", "features", "price", "the")
PARTS = (
    TextPart(field="title", prefix="Title: ", joiner=" "),
    TextPart(field="features", prefix="Features: ", joiner=" | "),
    TextPart(field="description", prefix="", joiner=" "),
    TextPart(field="details", prefix="", joiner="; "),
    TextPart(field="price", prefix="Price: ", joiner=" "),
)

Holds = Literal["image", "has_image", "token_ids", "token_mask", "category_id", "numeric"]


def write_tokenizer(folder: Path) -> str:
    """A WordPiece tokenizer that spells unknown words by letters, with padding on; returns its sha256."""
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106  # no password
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.enable_padding(length=512)
    path = folder / TOKENIZER_FILE
    tokenizer.save(str(path))
    return sha256(path.read_bytes()).hexdigest()


def text_spec(folder: Path, limit: int = 64, ladder: tuple[int, ...] = (8, 16, 64)) -> TextSpec:
    """The text half of a contract, its tokenizer written into `folder`."""
    return TextSpec(
        instruction="",
        parts=PARTS,
        separator="\n",
        tokenizer=TOKENIZER_FILE,
        tokenizer_sha256=write_tokenizer(folder),
        token_limit=limit,
        ladder=ladder,
        pad_id=0,
    )


def image_spec(count: int = 1, side: int = 32, required: bool = False) -> ImageSpec:
    """The image half of a contract."""
    return ImageSpec(
        count=count,
        candidates=count,
        selection="first",
        height=side,
        width=side,
        collage=(),
        interpolation="bilinear",
        fit="squash",
        jpeg_scaling=False,
        required=required,
    )


def contract(folder: Path, **changes: Any) -> ModelContract:
    """One picture and text; `changes` replace fields of the contract, `image`, `categories`, `numeric` of
    its spec, and `holds` says what its inputs hold.
    """
    image: ImageSpec = changes.pop("image", image_spec())
    categories: tuple[str, ...] = changes.pop("categories", ())
    numeric: tuple[str, ...] = changes.pop("numeric", ())
    holds: tuple[Holds, ...] = changes.pop("holds", ("image", "has_image", "token_ids", "token_mask"))
    fields: dict[str, Any] = {
        "name": "small",
        "version": 1,
        "target": "average_rating",
        "precision": "fp32",
        "cpu_runtime": "onnxruntime",
        "spec": {
            "image": image,
            "text": changes.pop("text", None) or text_spec(folder),
            "categories": categories,
            "numeric": numeric,
        },
        "inputs": tuple(tensor(each, image, len(numeric)) for each in holds),
        "outputs": (TensorSpec(name="score", dtype="float32", shape=(1,), holds="score"),),
        "weights": {"model.onnx": "0" * 64},
        "companions": {},
        "score_range": (1.0, 5.0),
        "tolerance": 1e-4,
        "protocol": dict.fromkeys(("fixed_size", "fixed_token_limit", "single_forward"), True)
        | dict.fromkeys(("test_time_augmentation", "ensemble"), False),
        "cost": {"params": 1, "flops": 1, "counter": "none"},
        "provenance": {"recipe": "none", "data": "none", "revision": "none"},
    }
    return ModelContract.model_validate(fields | changes)


def tensor(holds: Holds, image: ImageSpec, numeric: int = 0) -> TensorSpec:
    """The tensor that holds it, named after it."""
    pixels = (3, image.height, image.width)
    made: dict[Holds, tuple[Literal["uint8", "float32", "int64"], tuple[int, ...]]] = {
        "image": ("uint8", pixels if image.count == 1 else (image.count, *pixels)),
        "has_image": ("float32", (image.count,)),
        "token_ids": ("int64", (-1,)),
        "token_mask": ("int64", (-1,)),
        "category_id": ("int64", (1,)),
        "numeric": ("float32", (numeric,)),
    }
    dtype, shape = made[holds]
    return TensorSpec(name=holds, dtype=dtype, shape=shape, holds=holds)
