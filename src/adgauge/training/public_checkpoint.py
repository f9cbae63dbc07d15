"""Makes a checkpoint folder of a checkpoint that team Double Y's public training code saved."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import Tensor

from adgauge.canonical.presets import TokenizerFile
from adgauge.contract import KEPT_PROTOCOL, ModelContract, Provenance, TensorSpec
from adgauge.errors import ConfigurationError
from adgauge.models.cost import count_cost
from adgauge.models.effimini import EffiMini, effimini_vlm_torchvision
from adgauge.models.public_effimini import PUBLIC, public_state
from adgauge.models.registry import system
from adgauge.models.tensors import one_line
from adgauge.training.checkpoint import Checkpoint, save_checkpoint

TOKENIZER_FILE = "tokenizer.json"
WRAPPERS = ("model_state_dict", "state_dict", "model")
"""Under which a training checkpoint has the weights, beside its optimizer's state and such."""

_RECIPE = f'''# Imported by `adgauge import-checkpoint`, not trained here.
model = "{PUBLIC}"
'''
_VOCABULARY = 30522
_PROBE, _PROBE_IDS = "Title: Café", [101, 2516, 1024, 7668, 102]  # BERT's, uncased: accents go too


@dataclass(frozen=True)
class Public:
    """What a file holds: tensors by the public code's names, and the file's sha256 (hex)."""

    tensors: Mapping[str, Tensor]
    sha256: str


def import_checkpoint(file: Path, out: Path, name: str, tokenizer: Path) -> Checkpoint:
    """Write `out`, a checkpoint folder of `PUBLIC` with all weights and the tokenizer; returns what is in it.

    `out` must not exist, or be an empty folder. It appears complete or not at all. Raises ConfigurationError
    for a file that is not a public EffiMiniVLM checkpoint or holds more than weights, another tokenizer than
    BERT's uncased one, and a folder that is taken or cannot be written.
    """
    _require_free(out)
    vocabulary = _read_tokenizer(tokenizer)
    public = read_public(file)
    model = EffiMini(effimini_vlm_torchvision()).eval()
    try:
        state = public_state(model, public.tensors)
    except ConfigurationError as exc:
        raise ConfigurationError(f"{file} is no public EffiMiniVLM checkpoint: {one_line(exc)}") from exc
    revision = f"{file.name}, sha256 {public.sha256}"
    contract = contract_of(model, name, hashlib.sha256(vocabulary).hexdigest(), revision)
    # Tensors of a file may be parts of one storage, which safetensors does not write.
    copies = {ours: tensor.detach().clone() for ours, tensor in state.items()}
    checkpoint = Checkpoint(copies, contract, _RECIPE, metrics={})
    _write(out.resolve(), checkpoint, vocabulary)
    return checkpoint


def contract_of(model: EffiMini, name: str, tokenizer_sha256: str, revision: str) -> ModelContract:
    """The contract of the public model, version 1; its weights are filled in where they are written."""
    spec = system(PUBLIC).canonical(TokenizerFile(TOKENIZER_FILE, tokenizer_sha256))
    low, high = model.score_range
    return ModelContract(
        name=name,
        version=1,
        target="average_rating",
        precision="fp32",
        cpu_runtime="onnxruntime",
        spec=spec,
        inputs=spec.tensors(),
        outputs=(TensorSpec(name="score", dtype="float32", shape=(1,), holds="score"),),
        weights={},
        companions={},
        score_range=(low, high),
        tolerance=1e-3,
        protocol=KEPT_PROTOCOL,
        cost=count_cost(model, spec),
        provenance=Provenance(
            recipe="imported; the layout is that of team Double Y's public training code",
            data="the file does not say",
            revision=revision,
        ),
    )


def read_public(file: Path) -> Public:
    """Read a state dict, bare or in one of `WRAPPERS`; nothing that the file holds is run.

    Raises ConfigurationError for a file that cannot be read, is no torch file or holds no state dict.
    """
    try:
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
            opened.seek(0)
            found = _load(opened, file)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {file}: {exc.strerror}") from exc
    return Public(_tensors(found, file), sha256)


def _load(opened: BinaryIO, file: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of old formats: what it cannot read it raises for
            return torch.load(opened, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as exc:
        if (function := re.search(r"GLOBAL (\S+)", str(exc))) is None:
            raise _no_torch_file(file) from exc
        raise ConfigurationError(
            f"{file} is refused, nothing of it was run: it asks for {function[1]}, which no weights need;"
            " save the model's state_dict() alone"
        ) from exc
    except Exception as exc:  # a damaged file fails wherever torch happens to be
        raise _no_torch_file(file) from exc


def _no_torch_file(file: Path) -> ConfigurationError:
    return ConfigurationError(f"{file} cannot be read: it must be what torch.save writes of a state_dict()")


def _tensors(found: object, file: Path) -> Mapping[str, Tensor]:
    """The state dict itself, of plain tensors only."""
    if isinstance(found, Mapping):
        found = next((found[key] for key in WRAPPERS if isinstance(found.get(key), Mapping)), found)
    if not isinstance(found, Mapping) or not found:
        raise ConfigurationError(f"{file} holds {type(found).__name__}, must hold a state_dict()")
    for name, tensor in found.items():
        if not isinstance(name, str) or not _is_plain(tensor):
            raise ConfigurationError(
                f"{file}: {name!r} is no plain tensor; weights are looked for at its top, else under"
                f" {', '.join(WRAPPERS)}"
            )
    return found


def _is_plain(value: object) -> bool:
    """Whether there are numbers in memory, in the usual layout."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _read_tokenizer(path: Path) -> bytes:
    """The bytes of BERT's uncased `tokenizer.json`."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror}") from exc
    try:
        tokenizer = Tokenizer.from_buffer(data)
    except Exception as exc:  # tokenizers raises plain Exception for a file it cannot read
        raise ConfigurationError(f"{path} is no tokenizer.json: {one_line(exc)}") from exc
    tokenizer.no_padding()
    if tokenizer.get_vocab_size() != _VOCABULARY or tokenizer.encode(_PROBE).ids != _PROBE_IDS:
        raise ConfigurationError(
            f"{path} is another tokenizer than bert-base-uncased's, whose ids the model reads"
        )
    return data


def _require_free(out: Path) -> None:
    try:
        taken = any(out.iterdir())
    except FileNotFoundError:
        return
    except OSError as exc:
        raise ConfigurationError(f"cannot write {out}: {exc.strerror}") from exc
    if taken:
        raise ConfigurationError(f"{out} is not empty; choose another folder")


def _write(out: Path, checkpoint: Checkpoint, tokenizer: bytes) -> None:
    """Under another name beside it, then renamed: an empty folder may be replaced, any other may not."""
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        save_checkpoint(partial, checkpoint)
        (partial / TOKENIZER_FILE).write_bytes(tokenizer)
        partial.rename(out)
    except OSError as exc:
        raise ConfigurationError(f"cannot write {out}: {exc.strerror}") from exc
    except SafetensorError as exc:  # a full disk, among others
        raise ConfigurationError(f"cannot write {out}: {one_line(exc)}") from exc
    finally:
        shutil.rmtree(partial, ignore_errors=True)
