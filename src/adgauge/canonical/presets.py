"""The canonicalization of each system of the report, as the one canonicalizer does it.

Numbers are the report's where it gives them; what it leaves open is our reading and says so. Every picture
is squashed to a fixed size and every text cut at a fixed number of tokens: the report's Canonical Inference
Protocol (section 2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adgauge.contract import CanonicalSpec, Cell, ImageSpec, TextPart, TextSpec

SMOLVLM_IMAGE_TOKENS = 36
"""SmolVLM2's at 384 × 384: (384 / 16 / 4)². They count towards the limits that its teams state."""

AMAZON_CATEGORIES = (
    *("All Beauty", "Amazon Fashion", "Appliances", "Arts, Crafts & Sewing", "Automotive", "Baby Products"),
    *("Beauty & Personal Care", "Books", "CDs & Vinyl", "Cell Phones & Accessories"),
    *("Clothing, Shoes & Jewelry", "Digital Music", "Electronics", "Gift Cards", "Grocery & Gourmet Food"),
    *("Handmade Products", "Health & Household", "Health & Personal Care", "Home & Kitchen"),
    *("Industrial & Scientific", "Kindle Store", "Magazine Subscriptions", "Movies & TV"),
    *("Musical Instruments", "Office Products", "Patio, Lawn & Garden", "Pet Supplies", "Software"),
    *("Sports & Outdoors", "Subscription Boxes", "Tools & Home Improvement", "Toys & Games", "Video Games"),
)
"""The 33 categories of Amazon Reviews 2023; with 0 for unknown they are PinCO's 34 ids."""


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """A `tokenizer.json` that lies beside the contract, and its sha256 (hex)."""

    name: str
    sha256: str


def effimini_vlm(tokenizer: TokenizerFile) -> CanonicalSpec:
    """Section 4.4: 224 × 224, labelled lines of text, BERT's tokenizer."""
    text = _text(tokenizer, _LABELLED, "\n", ladder=(32, 64, 128, 256), pad_id=0)
    return _spec(_image(224, 224, "bilinear"), text)


def effimini_lite0(tokenizer: TokenizerFile) -> CanonicalSpec:
    """As `effimini_vlm`, resized as EfficientNet-Lite0 was trained."""
    text = _text(tokenizer, _LABELLED, "\n", ladder=(32, 64, 128, 256), pad_id=0)
    return _spec(_image(224, 224, "bicubic"), text)


def lovif_clip(tokenizer: TokenizerFile) -> CanonicalSpec:
    """Section 4.2: CLIP's size and 77 tokens of title and description; padded with its end of text."""
    text = _text(tokenizer, _TITLE_AND_DESCRIPTION, " ", ladder=(16, 32, 77), pad_id=49407)
    return _spec(_image(224, 224, "bicubic"), text)


def lovif_roberta(tokenizer: TokenizerFile) -> CanonicalSpec:
    """As `lovif_clip` with RoBERTa's tokenizer (figure 2 of the report); the limit is ours."""
    text = _text(tokenizer, _TITLE_AND_DESCRIPTION, " ", ladder=(16, 32, 77), pad_id=1)
    return _spec(_image(224, 224, "bicubic"), text)


def smolvlm_olacnqoddchl(tokenizer: TokenizerFile) -> CanonicalSpec:
    """Section 4.1: 384 × 384, metadata in an instruction-style prompt, 2560 tokens with the image's.

    Bilinear as section 4.3 says of the same model, and the wording of the instruction, are our reading.
    """
    instruction = (
        "Look at the picture and read the listing of this product."
        " Predict the average rating, from 1.0 to 5.0, that its buyers gave it."
    )
    ladder = (128, 256, 512, 1024, 2560 - SMOLVLM_IMAGE_TOKENS)
    text = _text(tokenizer, _EVERYTHING, "\n", ladder=ladder, pad_id=2, instruction=instruction)
    return _spec(_image(384, 384, "bilinear"), text)


def smolvlm_wleach(tokenizer: TokenizerFile) -> CanonicalSpec:
    """Section 4.3: 384 × 384 bilinear and a short text; 112 tokens with the image's fit what is reported."""
    ladder = (16, 32, 112 - SMOLVLM_IMAGE_TOKENS)
    text = _text(tokenizer, _TITLE_AND_DESCRIPTION, " ", ladder=ladder, pad_id=2)
    return _spec(_image(384, 384, "bilinear"), text)


def pinco(tokenizer: TokenizerFile) -> CanonicalSpec:
    """Section 4.5: a 256 × 384 collage of up to three pictures, 256 tokens, category and numeric features.

    Our reading: the MAIN picture 256 × 256, two more 128 × 128 to its right, one below the other; numeric
    features are log1p(price), the number of pictures and of features, 0 where missing.
    """
    cells = (
        Cell(top=0, left=0, shrink=1),
        Cell(top=0, left=256, shrink=2),
        Cell(top=128, left=256, shrink=2),
    )
    text = _text(tokenizer, _LABELLED, "\n", ladder=(32, 64, 128, 256), pad_id=0)
    image = _image(256, 256, "bicubic", count=3, collage=cells)
    return CanonicalSpec(
        image=image,
        text=text,
        categories=AMAZON_CATEGORIES,
        numeric=("log1p_price", "image_count", "feature_count"),
    )


def latent_query(tokenizer: TokenizerFile) -> CanonicalSpec:
    """Section 4.6: the k = 2 most salient pictures (of four: our reading) at 224 × 224, and 256 tokens."""
    text = _text(tokenizer, _LABELLED, "\n", ladder=(32, 64, 128, 256), pad_id=0)
    return _spec(_image(224, 224, "bicubic", count=2, candidates=4), text)


def latent_query_k1(tokenizer: TokenizerFile) -> CanonicalSpec:
    """As `latent_query` with k = 1, for which the report states its FLOPs."""
    text = _text(tokenizer, _LABELLED, "\n", ladder=(32, 64, 128, 256), pad_id=0)
    return _spec(_image(224, 224, "bicubic", count=1, candidates=4), text)


def shrunk(spec: CanonicalSpec, side: int, token_limit: int) -> CanonicalSpec:
    """The same canonicalization at a size for tests: pictures `side` × `side`, at least 8 tokens of text.

    An instruction loses its end: no tokenizer makes more tokens than characters of it. Raises ValidationError
    for a side that the cells of the collage do not divide.
    """
    cells = tuple(_moved(cell, side, spec.image) for cell in spec.image.collage)
    image = dict(spec.image) | {"height": side, "width": side, "collage": cells}
    ladder = (token_limit // 2, token_limit)
    instruction = spec.text.instruction[: token_limit // 2]
    text = dict(spec.text) | {"token_limit": token_limit, "ladder": ladder, "instruction": instruction}
    return CanonicalSpec.model_validate(dict(spec) | {"image": image, "text": text})


def _moved(cell: Cell, side: int, image: ImageSpec) -> Cell:
    """Where a cell lies when both sides of the pictures become `side`."""
    top, left = cell.top * side // image.height, cell.left * side // image.width
    return Cell(top=top, left=left, shrink=cell.shrink)


_TITLE_AND_DESCRIPTION = (
    TextPart(field="title", prefix="", joiner=" "),
    TextPart(field="description", prefix="", joiner=" "),
)
_LABELLED = (
    TextPart(field="main_category", prefix="Main category: ", joiner=" "),
    TextPart(field="title", prefix="Title: ", joiner=" "),
    TextPart(field="features", prefix="Features: ", joiner=" | "),
    TextPart(field="description", prefix="Description: ", joiner=" "),
)
_EVERYTHING = (
    TextPart(field="title", prefix="Title: ", joiner=" "),
    TextPart(field="main_category", prefix="Main category: ", joiner=" "),
    TextPart(field="categories", prefix="Categories: ", joiner=" > "),
    TextPart(field="store", prefix="Store: ", joiner=" "),
    TextPart(field="price", prefix="Price: ", joiner=" "),
    TextPart(field="features", prefix="Features: ", joiner=" | "),
    TextPart(field="details", prefix="Details: ", joiner="; "),
    TextPart(field="description", prefix="Description: ", joiner=" "),
)


def _spec(image: ImageSpec, text: TextSpec) -> CanonicalSpec:
    return CanonicalSpec(image=image, text=text, categories=(), numeric=())


def _image(
    height: int,
    width: int,
    interpolation: Literal["bilinear", "bicubic"],
    *,
    count: int = 1,
    candidates: int | None = None,
    collage: tuple[Cell, ...] = (),
) -> ImageSpec:
    return ImageSpec(
        count=count,
        candidates=candidates or count,
        selection="salient" if candidates else "first",
        height=height,
        width=width,
        collage=collage,
        interpolation=interpolation,
        fit="squash",
        jpeg_scaling=False,
        required=False,
    )


def _text(
    tokenizer: TokenizerFile,
    parts: tuple[TextPart, ...],
    separator: str,
    *,
    ladder: tuple[int, ...],
    pad_id: int,
    instruction: str = "",
) -> TextSpec:
    return TextSpec(
        instruction=instruction,
        parts=parts,
        separator=separator,
        tokenizer=tokenizer.name,
        tokenizer_sha256=tokenizer.sha256,
        token_limit=ladder[-1],
        ladder=ladder,
        pad_id=pad_id,
    )
