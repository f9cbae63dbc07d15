"""ProductRecord and pictures → CanonicalInput: the only preprocessing there is."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from adgauge.canonical.pictures import compose, present, select
from adgauge.canonical.text import TextEncoder, Tokens, clean
from adgauge.contract import ImageSpec, ModelContract, TensorSpec
from adgauge.errors import ContractMismatch, RecordRejected, RejectReason
from adgauge.product import ProductRecord
from adgauge.records import CanonicalInput, Flag, ImageMissing, ImageResult

Array = npt.NDArray[np.generic]

_OF_PICTURES = ("image", "has_image")

_NUMERIC: Mapping[str, Callable[[ProductRecord], float]] = {
    "log1p_price": lambda product: math.log1p(product.price or 0.0),
    "image_count": lambda product: len(product.pictures),
    "feature_count": lambda product: len(product.features),
}


def category_key(name: str) -> str:
    """Equal for spellings of one category: "Arts, Crafts & Sewing", "ARTS, CRAFTS &amp; SEWING" and
    "Arts_Crafts_and_Sewing".
    """
    words = clean(name).casefold().replace("&", " and ").replace("_", " ").replace(",", " ")
    return " ".join(words.split())


class Canonicalizer:
    """Makes what one model sees of a product, exactly as its contract lists it.

    `category_id` is that of `main_category`; where the contract does not list it (a store's department:
    "Amazon Home"), of the first of `categories`, the top of the shop's tree; else 0. `image_count` counts the
    pictures that the record names, `feature_count` its features, whether or not they are shown: numbers of
    the listing, the same when a host is away. The constructor raises ContractMismatch.
    """

    def __init__(self, contract: ModelContract, model_dir: Path) -> None:
        self._spec = contract.spec
        self._inputs = contract.inputs
        _check_inputs(contract)
        self._text = TextEncoder(contract.spec.text, model_dir)
        self._category_ids = _category_ids(contract.spec.categories)

    @property
    def image_spec(self) -> ImageSpec:
        """How pictures are to be decoded for `canonicalize`."""
        return self._spec.image

    def image_references(self, product: ProductRecord) -> tuple[str, ...]:
        """The URLs or paths of the pictures to choose from, MAIN first, the largest of each."""
        return tuple(picture.urls[0] for picture in product.pictures[: self._spec.image.candidates])

    def draft(self, products: Sequence[ProductRecord]) -> list[Draft]:
        """Everything of each canonical input that needs no picture."""
        pairs = zip(products, self._text.encode(products), strict=True)
        return [self._draft(product, tokens) for product, tokens in pairs]

    def _draft(self, product: ProductRecord, tokens: Tokens) -> Draft:
        arrays = {
            tensor.name: self._array(tensor, product, tokens)
            for tensor in self._inputs
            if tensor.holds not in _OF_PICTURES
        }
        references = self.image_references(product)
        return Draft(product.parent_asin, references, arrays, len(tokens.ids), tokens.flags)

    def complete(self, draft: Draft, images: Sequence[ImageResult]) -> CanonicalInput | RecordRejected:
        """With the pictures of its references, in order.

        A product none of whose candidates is there is rejected where the contract requires a picture, else
        flagged `no_image`; one that is there prevents both.
        """
        chosen = select(images, self._spec.image)
        shown = any(isinstance(image, np.ndarray) for image in chosen)
        if self._spec.image.required and not shown:
            return RecordRejected(RejectReason.NO_IMAGE, "canonicalize", _why(images))
        arrays = {
            tensor.name: draft.arrays[tensor.name]
            if tensor.name in draft.arrays
            else self._picture_array(tensor, chosen)
            for tensor in self._inputs
        }
        flags = draft.flags if shown else draft.flags | {Flag.NO_IMAGE}
        return CanonicalInput(arrays, draft.rung, flags, digest(arrays))

    def canonicalize(
        self, products: Sequence[ProductRecord], images: Sequence[Sequence[ImageResult]]
    ) -> list[CanonicalInput | RecordRejected]:
        """One result a product, in order; `images` are those of its `image_references`, in order."""
        pairs = zip(self.draft(products), images, strict=True)
        return [self.complete(draft, found) for draft, found in pairs]

    def _picture_array(self, tensor: TensorSpec, images: Sequence[ImageResult]) -> Array:
        if tensor.holds == "image":
            return compose(images, self._spec.image)
        return present(images, self._spec.image)

    def _array(self, tensor: TensorSpec, product: ProductRecord, tokens: Tokens) -> Array:
        match tensor.holds:
            case "token_ids":
                return tokens.ids
            case "token_mask":
                return tokens.mask
            case "category_id":
                return np.array([self._category_id(product)], dtype=np.int64)
            case "numeric":
                values = [_NUMERIC[name](product) for name in self._spec.numeric]
                return np.array(values, dtype=np.float32)
            case _:  # of pictures, or an output, which _check_inputs has refused
                raise AssertionError(tensor.name)

    def _category_id(self, product: ProductRecord) -> int:
        names = (product.main_category, *product.categories[:1])
        known = (self._category_ids.get(category_key(name)) for name in names)
        return next((number for number in known if number is not None), 0)


@dataclass(frozen=True, slots=True)
class Draft:
    """A canonical input but for its pictures: the other arrays by name, and the pictures' references."""

    product_id: str
    references: tuple[str, ...]
    arrays: Mapping[str, Array]
    rung: int
    flags: frozenset[Flag]

    def source_digest(self) -> str:
        """Sha256 (hex): the same arrays and references, whatever the pictures behind them are now."""
        state = hashlib.sha256(digest(self.arrays).encode())
        for reference in self.references:
            data = reference.encode(errors="surrogatepass")
            state.update(len(data).to_bytes(8, "little") + data)
        return state.hexdigest()


def digest(arrays: Mapping[str, Array]) -> str:
    """Sha256 (hex) over names, dtypes, shapes and little-endian bytes, in the mapping's order."""
    state = hashlib.sha256()
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        state.update(f"{name}\0{array.dtype.name}\0{array.shape}\0".encode())
        state.update(little.data if little.size else b"")
    return state.hexdigest()


def _why(images: Sequence[ImageResult]) -> str:
    missing = [image for image in images if isinstance(image, ImageMissing)]
    return f"{missing[0].reason}: {missing[0].detail}" if missing else "the record names no picture"


def _category_ids(names: Sequence[str]) -> Mapping[str, int]:
    """By `category_key`; raises ContractMismatch where two names have one key, or a name has none."""
    ids: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        key = category_key(name)
        if not key or key in ids:
            other = f"the same as {names[ids[key] - 1]!r}" if key else "empty"
            raise ContractMismatch(f"spec.categories: {name!r} is {other}; each must be another category")
        ids[key] = number
    return ids


def _check_inputs(contract: ModelContract) -> None:
    """Refuse a contract whose inputs are not what its own spec makes."""
    made = {tensor.holds: (tensor.dtype, tensor.shape) for tensor in contract.spec.tensors()}
    for tensor in contract.inputs:
        if made.get(tensor.holds) != (tensor.dtype, tensor.shape):
            stated = f"{tensor.holds} as {tensor.dtype}{list(tensor.shape)}"
            raise ContractMismatch(
                f"input {tensor.name} holds {stated}; its spec makes {made.get(tensor.holds)}"
            )
