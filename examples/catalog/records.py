"""Products as lines of products.jsonl, in the Amazon Reviews 2023 item schema as it really occurs."""

from __future__ import annotations

import json
from typing import Any

from .source import Product, changes, products

FIELDS = (
    "main_category", "title", "average_rating", "rating_number", "features", "description", "price", "images",
    "videos", "store", "categories", "details", "parent_asin", "bought_together",
)  # fmt: skip
DEAD_HOST = "https://images.adgauge.invalid"
SOFTWOODS = ("beech", "ash", "oak", "birch", "maple", "pine", "walnut")


def lines() -> list[str]:
    """Every line of the catalog, in order."""
    everything = products()
    later = changes()
    known = {product.id: product for product in everything}
    updates = [record(known[entry["id"]]) | _without_id(entry) for entry in later["update"]]
    deletions = [{"parent_asin": known[entry["id"]].asin, "_deleted": True} for entry in later["delete"]]
    records = [record(product) for product in everything] + updates + deletions
    raw = [str(entry["line"]) for entry in later["raw"]]
    return [json.dumps(each, ensure_ascii=False) for each in records] + raw


def record(product: Product) -> dict[str, Any]:
    """One record with every field of the schema."""
    if product.odd == "all_null":
        return dict.fromkeys(FIELDS) | {"parent_asin": product.asin}
    average, number = product.rating or (None, None)
    top = [product.category] if product.category and product.categories else []
    values = {
        "main_category": product.main_category,
        "title": product.title,
        "average_rating": average,
        "rating_number": number,
        "features": product.features,
        "description": long_description() if product.odd == "over_long" else product.description,
        "price": product.price,
        "images": _images(product),
        "videos": [],
        "store": product.store,
        "categories": top + product.categories,
        "details": repr(product.details) if product.details_form == "repr" else product.details,
        "parent_asin": product.asin,
        "bought_together": None,
    }
    return {name: values[name] for name in FIELDS}


def _images(product: Product) -> list[dict[str, str | None]] | dict[str, list[str | None]]:
    """Both forms that occur: a list of dicts, or a dict of lists."""
    paths = product.pictures
    if product.images_form == "missing":
        paths = [f"images/{product.asin.lower()}.jpg"]
    if product.images_form == "dead_url":
        paths = [f"{DEAD_HOST}/{product.asin}.jpg"]
    if product.images_form == "video":
        return [{"360w": path, "720w": path, "1920w": path, "variant": "MAIN"} for path in paths]
    variants = [f"PT{number:02d}" if number else "MAIN" for number in range(len(paths))]
    if product.images_form == "columns":
        return {"hi_res": [None] * len(paths), "large": [*paths], "thumb": [*paths], "variant": [*variants]}
    pairs = zip(paths, variants, strict=True)
    return [{"thumb": path, "large": path, "variant": variant, "hi_res": None} for path, variant in pairs]


def _without_id(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "id"}


def long_description() -> list[str]:
    """About 20,000 characters in one paragraph: what a careless feed exports."""
    steps = [
        f"Step {number}: clamp the {wood} board at {number * 7 % 90 + 5} mm, check that both "
        f"jaws are parallel, tighten handle {'A' if number % 2 else 'B'} by {number % 4 + 1} "
        "turns and wipe off the sawdust."
        for number, wood in ((number, SOFTWOODS[number % len(SOFTWOODS)]) for number in range(1, 155))
    ]
    return [" ".join(steps)]
