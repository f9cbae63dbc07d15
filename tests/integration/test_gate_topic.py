"""`adgauge gate` on two generations in one score log on Apache Kafka."""

import json
from pathlib import Path

import pytest

from adgauge.adapters.kafka import KafkaPublisher, KafkaWriter, plain_connection
from adgauge.cli import main
from tests.conftest import MakeTopic
from tests.monitor.test_gate_command import MODEL, write


def test_both_generations_are_read_from_the_score_log(
    kafka_bootstrap: str,
    make_topic: MakeTopic,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path, {"Books": (2000, 0.45, 0.33)})
    topic = make_topic("scores", partitions=3)
    writer = KafkaWriter(plain_connection(kafka_bootstrap))
    for name in ("baseline", "candidate"):
        values = (tmp_path / f"{name}.jsonl").read_bytes().splitlines()
        KafkaPublisher(writer, topic).publish([(value[:40], value) for value in values])
    writer.close()
    monkeypatch.setenv("ADGAUGE_KAFKA_BOOTSTRAP", kafka_bootstrap)
    monkeypatch.setenv("ADGAUGE_SCORES_TOPIC", topic)

    code = main(
        ["gate", "--candidate", "2", "--baseline", "1", "--labels", f"{tmp_path}/labels.jsonl", "--json"]
        + [f"--{side}-model={MODEL}" for side in ("candidate", "baseline")]
    )
    result = json.loads(capsys.readouterr().out)
    assert (code, result["decision"]) == (0, "promote")
    assert (result["candidate"]["generation"], result["baseline"]["generation"]) == (2, 1)
    assert result["checks"][0]["n"] == 2000
