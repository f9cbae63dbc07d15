"""The contract of a model: everything that must be equal for two scores to be comparable.

`contract.json` travels with the weights from the checkpoint to Triton. No field has a default: an image
size that nobody wrote down is an image size that two programs disagree about.
"""

from __future__ import annotations

import hashlib
import json
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from adgauge.errors import ContractMismatch

CONTRACT_FILE = "contract.json"
GOLDEN_FILE = "golden.jsonl"


def digest_parameter(version: int) -> str:
    """The parameter of Triton's `config.pbtxt`, which is of all versions, that names the contract of one."""
    return f"contract_digest.{version}"


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Positive = Annotated[int, Field(gt=0)]
Counted = Annotated[int, Field(gt=0, lt=2**63)]
Natural = Annotated[int, Field(ge=0)]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
CpuRuntime = Literal["onnxruntime", "openvino"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cell(_Frozen):
    """Where a picture of a collage lies: its upper left corner, and by what its sides are divided."""

    top: Natural
    left: Natural
    shrink: Positive


class ImageSpec(_Frozen):
    """How pictures become pixels: `count` × uint8 [3, height, width], RGB, channels first."""

    count: Positive  # pictures that the model is shown
    candidates: Positive  # pictures that are fetched for it, MAIN first, then in the publisher's order
    selection: Literal["first", "salient"]  # which of the candidates are shown: canonical/pictures.py
    height: Positive
    width: Positive
    collage: tuple[Cell, ...]  # one a picture, all in one array, black between; empty: no collage
    interpolation: Literal["bilinear", "bicubic"]
    fit: Literal["squash"]
    # True: a JPEG is decoded at 1/2, 1/4 or 1/8 of its size while both sides stay at least twice these.
    # Faster and slightly other pixels, so weights are served as they were trained.
    jpeg_scaling: bool
    required: bool  # False: a product without a picture is scored and flagged `no_image`

    @model_validator(mode="after")
    def _pictures_fit(self) -> Self:
        if self.candidates < self.count or (self.selection == "first" and self.candidates > self.count):
            raise ValueError("candidates must equal count, or exceed it where the salient ones are selected")
        if self.collage and len(self.collage) != self.count:
            raise ValueError("collage must have one cell a picture")
        if any(self.height % cell.shrink or self.width % cell.shrink for cell in self.collage):
            raise ValueError("shrink of each cell of collage must divide height and width")
        if any(self._overlap(*pair) for pair in combinations(self.collage, 2)):
            raise ValueError("cells of collage must not overlap")
        return self

    def _overlap(self, one: Cell, other: Cell) -> bool:
        return all(
            a.top < b.top + self.height // b.shrink and a.left < b.left + self.width // b.shrink
            for a, b in ((one, other), (other, one))
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array that the model is shown: [3, H, W], or [count, 3, H, W] where there are several."""
        if self.collage:
            height = max(cell.top + self.height // cell.shrink for cell in self.collage)
            width = max(cell.left + self.width // cell.shrink for cell in self.collage)
            return 3, height, width
        one = (3, self.height, self.width)
        return one if self.count == 1 else (self.count, *one)


class TextPart(_Frozen):
    """One field of a product as it stands in the text: `prefix` + its values joined by `joiner`."""

    field: Literal[
        "main_category", "title", "features", "description", "store", "categories", "details", "price"
    ]
    prefix: str
    joiner: str


class TextSpec(_Frozen):
    """How product fields become token ids. Empty parts are left out; `separator` joins the rest."""

    instruction: Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")]  # stands before the fields, always
    parts: tuple[TextPart, ...]
    separator: str
    tokenizer: str  # file beside the contract
    tokenizer_sha256: Sha256
    token_limit: Positive  # special tokens included
    ladder: tuple[Positive, ...]  # padded lengths, ascending; the last is the limit
    pad_id: Natural

    @model_validator(mode="after")
    def _ladder_ends_at_the_limit(self) -> Self:
        if list(self.ladder) != sorted(set(self.ladder)) or self.ladder[-1:] != (self.token_limit,):
            raise ValueError("ladder must ascend and end at token_limit")
        return self


class TensorSpec(_Frozen):
    """A named array on the wire, without the batch dimension; -1 is the padded text length."""

    name: str
    dtype: Literal["uint8", "float32", "int64"]
    shape: tuple[int, ...]
    holds: Literal["image", "has_image", "token_ids", "token_mask", "category_id", "numeric", "score"]


_TEXT_TENSORS: tuple[tuple[str, Literal["token_ids", "token_mask"]], ...] = (
    ("input_ids", "token_ids"),
    ("attention_mask", "token_mask"),
)


class CanonicalSpec(_Frozen):
    """What the canonicalizer does; the only preprocessing there is."""

    image: ImageSpec
    text: TextSpec
    categories: tuple[str, ...]  # `category_id` = position + 1; 0 = unknown; empty = no such input
    numeric: tuple[Literal["log1p_price", "image_count", "feature_count"], ...]

    def tensors(self) -> tuple[TensorSpec, ...]:
        """What a model is given of a product, in the order of its `forward`."""
        image = TensorSpec(name="image", dtype="uint8", shape=self.image.shape, holds="image")
        present = (self.image.count,)
        made = [image, TensorSpec(name="has_image", dtype="float32", shape=present, holds="has_image")]
        for name, holds in _TEXT_TENSORS:
            made.append(TensorSpec(name=name, dtype="int64", shape=(-1,), holds=holds))
        if self.categories:
            made.append(TensorSpec(name="category_id", dtype="int64", shape=(1,), holds="category_id"))
        if self.numeric:
            counted = (len(self.numeric),)
            made.append(TensorSpec(name="numeric", dtype="float32", shape=counted, holds="numeric"))
        return tuple(made)


class Protocol(_Frozen):
    """The report's Canonical Inference Protocol; a model that breaks it is marked on the leaderboard."""

    fixed_size: bool
    fixed_token_limit: bool
    single_forward: bool
    test_time_augmentation: bool
    ensemble: bool

    def breaches(self) -> tuple[str, ...]:
        """What breaks it, each as `field = value`; none for a model that keeps it."""
        required = {"fixed_size": True, "fixed_token_limit": True, "single_forward": True}
        forbidden = {"test_time_augmentation": False, "ensemble": False}
        found = {name: value for name, value in self if value is not (required | forbidden)[name]}
        return tuple(f"{name} = {str(value).lower()}" for name, value in found.items())


KEPT_PROTOCOL = Protocol(
    fixed_size=True,
    fixed_token_limit=True,
    single_forward=True,
    test_time_augmentation=False,
    ensemble=False,
)
"""Of a model that breaks nothing of it, as a graph of one forward pass does."""


class Cost(_Frozen):
    """P and F of the metric CES: parameters, and FLOPs (2·MAC, attention counted) at batch 1."""

    params: Counted
    flops: Counted
    counter: str


class Provenance(_Frozen):
    """Where the weights come from; free text for people, never compared."""

    recipe: str
    data: str
    revision: str


class ModelContract(_Frozen):
    """One served model: canonicalization, tensors, weights, precision and what they cost."""

    name: str
    version: Positive
    target: str
    precision: Precision
    cpu_runtime: CpuRuntime  # what runs the graph on a machine without a GPU; the digest leaves it out
    spec: CanonicalSpec
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    weights: dict[str, Sha256]  # file beside the contract → sha256
    companions: dict[
        str, Sha256
    ]  # the other files beside it, such as golden records; the digest leaves them out
    score_range: tuple[float, float]
    tolerance: Annotated[float, Field(gt=0)]  # |Δ| allowed between golden and served scores
    protocol: Protocol
    cost: Cost
    provenance: Provenance

    def digest(self) -> str:
        """Sha256 (hex) over what decides a score: spec, tensors, weights, precision and target."""
        decides = {"name", "version", "target", "precision", "spec", "inputs", "outputs", "weights"}
        canonical = json.dumps(self.model_dump(mode="json", include=decides), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def files(self) -> dict[str, str]:
        """Every file beside the contract that it names, with its sha256 (hex)."""
        tokenizer = {self.spec.text.tokenizer: self.spec.text.tokenizer_sha256}
        return {**tokenizer, **self.weights, **self.companions}

    def to_json(self) -> str:
        """The text of `contract.json`: stable order, one final newline."""
        return self.model_dump_json(indent=2) + "\n"


def load_contract(model_dir: Path) -> ModelContract:
    """Read `contract.json` of a version's folder; raises ContractMismatch with what is wrong and where."""
    path = model_dir / CONTRACT_FILE
    try:
        return ModelContract.model_validate_json(path.read_bytes())
    except FileNotFoundError as exc:
        raise ContractMismatch(f"{path} does not exist; {_instead(model_dir)}") from exc
    except OSError as exc:
        raise ContractMismatch(f"cannot read {path}: {exc.strerror}; give the folder of a model") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise ContractMismatch(f"{path}: {where}: {first['msg']}") from exc


def _instead(model_dir: Path) -> str:
    versions = version_folders(model_dir)
    if not versions:
        return "export a model there first"
    return f"name a version's folder: {', '.join(map(str, versions.values()))}"


def version_folders(model: Path) -> dict[int, Path]:
    """The versions in a model's folder, ascending; none where there is no such folder."""
    found = {
        int(path.parent.name): path.parent
        for path in model.glob(f"[1-9]*/{CONTRACT_FILE}")
        if path.parent.name.isdecimal()
    }
    return dict(sorted(found.items()))


def file_sha256(path: Path) -> str:
    """Sha256 (hex) of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wrong_files(model_dir: Path, contract: ModelContract) -> dict[str, str]:
    """Files the contract names that are missing or different, each with what is wrong and what to do."""
    found = {name: _complaint(model_dir / name, sha256) for name, sha256 in contract.files().items()}
    return {name: complaint for name, complaint in found.items() if complaint is not None}


def require_files(model_dir: Path, contract: ModelContract) -> None:
    """Raise ContractMismatch unless every file is the contract's."""
    for name, complaint in wrong_files(model_dir, contract).items():
        raise ContractMismatch(f"{model_dir / name}: {complaint}")


def _complaint(path: Path, sha256: str) -> str | None:
    remedy = "assemble or export the model again"
    try:
        found = file_sha256(path)
    except OSError as exc:
        return f"cannot be read: {exc.strerror}; {remedy}"
    return None if found == sha256 else f"sha256 is {found}, the contract says {sha256}; {remedy}"
