"""What can be exported: a checkpoint, or a registered system with random weights."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import nn

from adgauge.canonical.presets import TokenizerFile
from adgauge.contract import KEPT_PROTOCOL, CanonicalSpec, ModelContract, Provenance, TensorSpec
from adgauge.errors import ConfigurationError, ContractMismatch
from adgauge.export.golden_products import golden_inputs
from adgauge.export.untrained import SEED, stretch
from adgauge.models.cost import count_cost
from adgauge.models.packaged import MINILM_TOKENIZER, PACKAGED, fill_packaged
from adgauge.models.profile import check_limits
from adgauge.models.registry import MODELS, TINY, Model, build, system
from adgauge.models.tensors import first_few, one_line
from adgauge.training.checkpoint import WEIGHTS_FILE, Checkpoint, load_checkpoint, load_state

TOKENIZER_FILE = "tokenizer.json"
SCORE = TensorSpec(name="score", dtype="float32", shape=(1,), holds="score")
TOLERANCE = 1e-3
"""|Δ| between golden and served scores that a contract of float32 allows."""
UNTRAINED = "untrained"
"""The target of a model with random weights: it predicts nothing."""

THREADS = 2

_TAKEN = ("contract.json", "weights.json")


@dataclass(frozen=True)
class Source:
    """A model to export, in evaluation mode and float32, and all that its contract says before it is.

    `head` is the file of its trained tensors where packages carry all the others: what is written can then be
    put together again from both.
    """

    model: Model
    contract: ModelContract  # without weights and companions
    tokenizer: bytes
    head: Path | None

    @property
    def is_trained(self) -> bool:
        """Whether its scores mean anything."""
        return self.contract.target != UNTRAINED


@contextmanager
def fixed_threads() -> Iterator[None]:
    """Torch on as many threads as on any other machine: sums in another order would be other scores."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def open_source(text: str, tokenizer: Path | None = None) -> Source:
    """A checkpoint's folder, or the name of a registered system, which then has random weights.

    A folder that is called as a system is `./NAME`. Raises ConfigurationError for what is neither and for a
    missing package, ContractMismatch for a checkpoint whose contract does not fit its weights or its model.
    """
    if text in MODELS:
        return _untrained(text, tokenizer)
    if Path(text).is_dir():
        return _of_checkpoint(Path(text), tokenizer)
    names = ", ".join(name for name in MODELS if name not in TINY)
    raise ConfigurationError(f"{text} is neither a checkpoint's folder nor a model; there are {names}")


def _of_checkpoint(folder: Path, tokenizer: Path | None) -> Source:
    checkpoint = load_checkpoint(folder)
    try:
        model = trained_model(checkpoint)
        contract = checkpoint.contract.model_copy(update={"weights": {}, "companions": {}})
        _require_fit(checkpoint.made_for, model, contract)
        found = _tokenizer_of(folder, contract, tokenizer)
        _require_vocabulary(model, contract.spec, found)
    except ContractMismatch as exc:
        raise ContractMismatch(f"{folder}: {exc}") from exc
    return Source(model, contract, found, folder / WEIGHTS_FILE if _is_packaged(checkpoint) else None)


def _is_packaged(checkpoint: Checkpoint) -> bool:
    """Whether packages carry all that a checkpoint does not hold, and its tokenizer."""
    encoders = system(checkpoint.made_for).encoders
    tokenizer = checkpoint.contract.spec.text.tokenizer_sha256
    is_head = bool(encoders) and all(_is_untrained(path, checkpoint) for path in encoders)
    return is_head and tokenizer == MINILM_TOKENIZER.sha256


def trained_model(checkpoint: Checkpoint) -> Model:
    """The model of a checkpoint, in evaluation mode; encoders that it does not hold come out of packages.

    Raises ContractMismatch when it holds another model's tensors or lacks some, ConfigurationError when a
    package is missing.
    """
    known = system(checkpoint.made_for)
    model = known.build().eval()
    untrained = [path for path in known.encoders if _is_untrained(path, checkpoint)]
    for published in dict.fromkeys(known.encoders[path] for path in untrained):
        if published not in PACKAGED:
            raise ContractMismatch(
                f"the checkpoint lacks {first_few(untrained)}, and no package carries {published}:"
                " save all weights"
            )
        fill_packaged(model, published)
    prefixes = tuple(f"{path}." for path in untrained)
    load_state(model, checkpoint.state, made_for=checkpoint.made_for, untrained=prefixes)
    return model


def _is_untrained(path: str, checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint holds nothing of an encoder."""
    return not any(name.startswith(f"{path}.") for name in checkpoint.state)


def _require_fit(made_for: str, model: Model, contract: ModelContract) -> None:
    """Raise ContractMismatch unless a contract says of a model what is so."""
    try:
        check_limits(made_for, model, contract.spec)
    except ConfigurationError as exc:
        raise ContractMismatch(f"spec: {one_line(exc)}") from exc
    facts = {
        "inputs": contract.spec.tensors(),
        "outputs": (SCORE,),
        "score_range": tuple(model.score_range),
        "cost": count_cost(model, contract.spec),
    }
    for field, fact in facts.items():
        if (said := getattr(contract, field)) != fact:
            raise ContractMismatch(f"{field} is {said}, but {made_for} has {fact}; train again")


def _tokenizer_of(folder: Path, contract: ModelContract, given: Path | None) -> bytes:
    """The contract's tokenizer: the one that is given, else the checkpoint's own, else the packaged one."""
    text = contract.spec.text
    if not re.fullmatch(r"[\w-][\w.-]*\.json", text.tokenizer) or text.tokenizer in _TAKEN:
        raise ContractMismatch(
            f"spec.text.tokenizer is {text.tokenizer!r}, must be a file such as {TOKENIZER_FILE}"
        )
    own, packaged = folder / text.tokenizer, MINILM_TOKENIZER.locate()
    path = given or (own if own.is_file() else packaged)
    content = b"" if path is None else _read(path)
    if (found := hashlib.sha256(content).hexdigest()) != text.tokenizer_sha256:
        raise ContractMismatch(
            f"its tokenizer has sha256 {text.tokenizer_sha256}, {path or 'what is installed'} has {found};"
            " give the right one with --tokenizer"
        )
    return content


def _untrained(name: str, tokenizer: Path | None) -> Source:
    """A system with random weights, but for the encoders that packages carry."""
    content = _read(tokenizer or MINILM_TOKENIZER.find())
    torch.manual_seed(SEED)
    model = build(name).eval()
    packaged = [each for each in dict.fromkeys(system(name).encoders.values()) if each in PACKAGED]
    for published in packaged:
        fill_packaged(model, published)
    spec = system(name).canonical(TokenizerFile(TOKENIZER_FILE, hashlib.sha256(content).hexdigest()))
    _require_vocabulary(model, spec, content)
    contract = _contract_of(name, model, spec, packaged)
    with tempfile.TemporaryDirectory() as folder, fixed_threads():
        (Path(folder) / TOKENIZER_FILE).write_bytes(content)
        stretch(model, contract, golden_inputs(contract, Path(folder)))
    return Source(model, contract, content, head=None)


def _contract_of(name: str, model: Model, spec: CanonicalSpec, packaged: Sequence[str]) -> ModelContract:
    origins = (f"random, seed {SEED}", *(PACKAGED[each].file.distribution for each in packaged))
    return ModelContract(
        name=name,
        version=1,
        target=UNTRAINED,
        precision="fp32",
        cpu_runtime="onnxruntime",
        spec=spec,
        inputs=spec.tensors(),
        outputs=(SCORE,),
        weights={},
        companions={},
        score_range=model.score_range,
        tolerance=TOLERANCE,
        protocol=KEPT_PROTOCOL,
        cost=count_cost(model, spec),
        provenance=Provenance(
            recipe="none: exported untrained, with its head stretched until scores differ",
            data="none",
            revision="; ".join(origins),
        ),
    )


def _require_vocabulary(model: Model, spec: CanonicalSpec, tokenizer: bytes) -> None:
    """Raise ContractMismatch unless the model has an embedding for every id that its text may become."""
    try:
        ids = Tokenizer.from_buffer(tokenizer).get_vocab(with_added_tokens=True).values()
    except Exception as exc:  # tokenizers raises plain Exception for a file it cannot read
        raise ContractMismatch(f"its tokenizer is no tokenizer.json: {one_line(exc)}") from exc
    largest, embeddings = max((spec.text.pad_id, *ids)), vocabulary_of(model)
    if largest >= embeddings:
        raise ContractMismatch(
            f"its tokenizer has ids up to {largest}, the model embeddings of {embeddings}:"
            " it is another model's"
        )


def vocabulary_of(model: Model) -> int:
    """How many token ids a model knows."""
    embeddings = (each for each in model.text_encoder.modules() if isinstance(each, nn.Embedding))
    return next(embeddings).num_embeddings  # in all of them that of words stands first


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror}") from exc
