"""Writes docs/contracts/: what publishers and readers agree on, generated from the models themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from adgauge import __version__
from adgauge.adapters.kafka import writers
from adgauge.adapters.kafka_admin import TopicPlan, planned_topics
from adgauge.errors import RejectReason
from adgauge.pipeline.score_log import ScoreLogRecord
from adgauge.product import ProductRecord
from adgauge.records import EVENT_HEADER

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "contracts"
KAFKA_BINDING = "0.5.0"

Json = dict[str, Any]


def product_schema() -> Json:
    """JSON Schema of a product as publishers write it."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect} | ProductRecord.model_json_schema(mode="validation")


def asyncapi() -> Json:
    """AsyncAPI 3.0: the three topics, what stands in them and who writes it."""
    products, scores, dead_letters = planned_topics(
        "catalog.products", "catalog.scores", "catalog.products.dlq"
    )
    _, models = models_json_schema(
        [(ProductRecord, "validation"), (ScoreLogRecord, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "adgauge",
            "version": __version__,
            "description": "Products in, scores and dead letters out. Scores are read from Redis.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "products": _channel(products, "product", "deletion"),
            "scores": _channel(scores, "score"),
            "deadLetters": _channel(dead_letters, "deadLetter"),
        },
        "operations": {
            "receiveProducts": _operation("receive", "products", "The scorer reads products."),
            "logScores": _operation("send", "scores", "Each score or deletion that became readable."),
            "rejectProducts": _operation("send", "deadLetters", "Each record that can never be scored."),
        },
        "components": {"messages": _messages(), "schemas": models["$defs"]},
    }


def _channel(topic: TopicPlan, *messages: str) -> Json:
    numbers = {name: int(value) for name, value in topic.configs.items() if value.isdigit()}
    policy = {"cleanup.policy": [topic.configs["cleanup.policy"]]}
    return {
        "address": topic.name,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "kafka": {"topicConfiguration": policy | numbers, "bindingVersion": KAFKA_BINDING},
        },
    }


def _operation(action: str, channel: str, summary: str) -> Json:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _messages() -> Json:
    event = {EVENT_HEADER: _text("Event time in ms since 1970; without it the record's timestamp counts.")}
    why: Json = {
        writers.REASON_HEADER: {"type": "string", "enum": [str(reason) for reason in RejectReason]},
        writers.STAGE_HEADER: _text("Where in the pipeline it was rejected."),
        writers.DETAIL_HEADER: _text("Words for people."),
        writers.ORIGIN_HEADER: _text("topic/partition/offset of the rejected record."),
        writers.ORIGIN_EVENT_HEADER: _text("Event time of the rejected record in ms."),
        writers.VERSION_HEADER: _text("Version of the scorer that rejected it."),
    }
    return {
        "product": _message(
            "Newest state of a product", {"$ref": "#/components/schemas/ProductRecord"}, event
        ),
        "deletion": _message("The product is gone: a null value", {"type": "null"}, event),
        "score": _message("One line of history", {"$ref": "#/components/schemas/ScoreLogRecord"}, {}),
        "deadLetter": _message("Key, value and headers as they came, and why", {}, why)
        | {"contentType": "application/octet-stream"},
    }


def _message(summary: str, payload: Json, headers: Json) -> Json:
    return {
        "summary": summary,
        "payload": payload,
        "headers": {"type": "object", "properties": headers},
        "bindings": {"kafka": {"key": _text("parent_asin, in UTF-8."), "bindingVersion": KAFKA_BINDING}},
    }


def _text(description: str) -> Json:
    return {"type": "string", "description": description}


def documents() -> dict[Path, str]:
    """Every generated file and its text."""
    made = {"product.schema.json": product_schema(), "asyncapi.json": asyncapi()}
    return {
        FOLDER / name: json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        for name, document in made.items()
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in documents().items():
        path.write_text(text)
