"""The document of `adgauge profile`: what each system costs, with the same keys for all.

What a graph does not tell is None: which of its weights were trained, which part they are of, and which of
its products are attention's.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adgauge.cli.extras import needing
from adgauge.contract import ModelContract, load_contract
from adgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from adgauge.export.onnx_cost import GraphCost
    from adgauge.models.profile import Profile

Size = tuple[int, int]
Document = dict[str, Any]

CONVENTION = (
    "P: parameters, buffers left out; F: FLOPs = 2·MAC of matrix products and convolutions, attention"
    " included, in one forward pass of one product"
)


_LOWERED = ("fp16", "int8")


def of_systems(name: str | None, tokens: int | None, size: Size | None, *, runtime: bool) -> Document:
    """Costs of one system, or of all six and their presets."""
    with needing("train"):
        from adgauge.models.profile import profile_system, time_system
        from adgauge.models.registry import SYSTEMS
        from adgauge.models.runtime import hardware
    names = [name] if name is not None else list(SYSTEMS)
    systems = {each: _of_profile(profile_system(each, tokens, size)) for each in names}
    if not runtime:
        return {"convention": CONVENTION, "systems": systems}
    for each, costs in systems.items():
        costs["runtime"] = asdict(time_system(each, tokens, size))
    return {"convention": CONVENTION, "systems": systems, "hardware": asdict(hardware())}


def _of_profile(profile: Profile) -> Document:
    return {
        "section": profile.section,
        "tokens": profile.tokens,
        "images": profile.images,
        "size": list(profile.size),
        "params": profile.params,
        "trainable": profile.trainable,
        "flops": 2 * profile.macs.total,
        "macs": profile.macs.total,
        "flops_without_attention": 2 * profile.macs.layers,
        "parts": {
            name: {"params": part.params, "trainable": part.trainable, "flops": 2 * part.macs.total}
            for name, part in profile.parts.items()
        },
        "encoders_params": dict(profile.encoders),
    }


def of_folder(folder: Path, tokens: int | None, size: Size | None) -> Document:
    """Costs of an exported model, with its contract's inputs, and whether they are the contract's."""
    contract = load_contract(folder)
    _refuse_other_inputs(contract, tokens, size)
    if contract.precision in _LOWERED:
        # Fewer bits change neither count, and hide weights and shapes from one who counts.
        raise ConfigurationError(
            f"{folder} is in {contract.precision}, and graphs are counted in float32: its contract says"
            f" {contract.cost.params} parameters and {contract.cost.flops} FLOPs, those of its model"
        )
    with needing("export"):
        from adgauge.export.onnx_cost import graph_cost, read_graph
    limit = contract.spec.text.token_limit
    shapes = {
        tensor.name: (1, *((tokens or limit) if side == -1 else side for side in tensor.shape))
        for tensor in contract.inputs
    }
    cost = graph_cost(read_graph(_graph_of(folder, contract)), shapes)
    costs = _of_graph(cost, tokens or limit, contract.spec.image.count, contract.spec.image.shape[-2:])
    counted = (contract.cost.params, contract.cost.flops)
    costs["contract_cost"] = contract.cost.model_dump()
    # The contract's is the cost at its token limit.
    costs["equals_contract"] = counted == (cost.params, cost.flops) if tokens in (None, limit) else None
    return {"convention": CONVENTION, "systems": {contract.name: costs}}


def of_file(path: Path, tokens: int | None, size: Size | None) -> Document:
    """Costs of an ONNX file; what its inputs leave open must be chosen."""
    with needing("export"):
        from adgauge.export.onnx_cost import graph_cost, input_shapes, read_graph
    graph = read_graph(path)
    shapes = input_shapes(graph, tokens, size)
    pictures = [shape[-2:] for shape in shapes.values() if len(shape) >= 4]
    costs = _of_graph(graph_cost(graph, shapes), tokens, None, pictures[0] if pictures else None)
    return {"convention": CONVENTION, "systems": {path.stem: costs}}


def refuse_runtime(wanted: bool) -> None:
    """Raise ConfigurationError: times are of systems in torch."""
    if wanted:
        raise ConfigurationError("--runtime: only systems are timed, not ONNX graphs; leave it out")


def _of_graph(
    cost: GraphCost, tokens: int | None, images: int | None, size: tuple[int, ...] | None
) -> Document:
    return {
        "section": None,
        "tokens": tokens,
        "images": images,
        "size": list(size) if size else None,
        "params": cost.params,
        "trainable": None,
        "flops": cost.flops,
        "macs": cost.macs,
        "flops_without_attention": None,
        "parts": {},
        "encoders_params": {},
    }


def _refuse_other_inputs(contract: ModelContract, tokens: int | None, size: Size | None) -> None:
    limit, (height, width) = contract.spec.text.token_limit, contract.spec.image.shape[-2:]
    if tokens is not None and tokens > limit:
        raise ConfigurationError(
            f"--tokens {tokens}: {contract.name} reads at most {limit} tokens; choose 1 to {limit}"
        )
    if size not in (None, (height, width)):
        raise ConfigurationError(f"--size: {contract.name} was exported for {height}x{width}; leave it out")


def _graph_of(folder: Path, contract: ModelContract) -> Path:
    graphs = [folder / name for name in contract.weights if name.endswith(".onnx")]
    if len(graphs) != 1:
        raise ConfigurationError(f"{folder}: the contract names {len(graphs)} .onnx files, not one")
    return graphs[0]
