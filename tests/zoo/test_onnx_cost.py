"""P and F of exported graphs are those of their models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from adgauge.contract import CanonicalSpec, load_contract
from adgauge.errors import ConfigurationError
from adgauge.export.onnx_cost import GraphCost, graph_cost, input_shapes, read_graph, weights
from adgauge.export.repository import Written
from adgauge.models.profile import profile_system, spec_of
from adgauge.models.registry import TINY, build, system

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT / "model_repository" / "effimini_lite0" / "1"


def shapes(spec: CanonicalSpec, tokens: int, rows: int = 1) -> dict[str, tuple[int, ...]]:
    return {t.name: (rows, *(tokens if side == -1 else side for side in t.shape)) for t in spec.tensors()}


def exported_graph(exported: Callable[[str], Written], name: str) -> onnx.ModelProto:
    return read_graph(exported(name).folder / "model.onnx")


@pytest.mark.parametrize("name", sorted(TINY))
def test_flops_are_those_of_the_model(name: str, exported: Callable[[str], Written]) -> None:
    for tokens in (profile_system(name).tokens, 7):
        cost = graph_cost(exported_graph(exported, name), shapes(spec_of(system(name)), tokens))
        assert cost.flops == 2 * profile_system(name, tokens).macs.total


@pytest.mark.parametrize("name", sorted(TINY))
def test_weights_are_the_parameters_that_the_forward_pass_needs(
    name: str, exported: Callable[[str], Written]
) -> None:
    graph = exported_graph(exported, name)
    needed = {tensor.name for tensor in graph.graph.initializer}
    parameters = {each: tensor.numel() for each, tensor in build(name).named_parameters() if each in needed}
    assert {tensor.name for tensor in weights(graph)} == set(parameters)
    cost = graph_cost(graph, shapes(spec_of(system(name)), 8))
    assert cost.params == sum(parameters.values())


def test_where_all_parameters_are_needed_the_graph_has_them_all(exported: Callable[[str], Written]) -> None:
    cost = graph_cost(exported_graph(exported, "effimini_tiny"), shapes(spec_of(system("effimini_tiny")), 8))
    assert cost.params == profile_system("effimini_tiny").params


def test_weights_and_biases_are_parameters() -> None:
    weight = helper.make_tensor("layer.weight", TensorProto.FLOAT, [2, 4], [0.0] * 8)
    bias = helper.make_tensor("layer.bias", TensorProto.FLOAT, [2], [0.0] * 2)
    node = helper.make_node("Gemm", ["x", "layer.weight", "layer.bias"], ["y"], transB=1)
    assert cost_of([node], {"x": [1, 4]}, [weight, bias]) == GraphCost(params=10, macs=8)


def test_the_default_model_costs_what_its_contract_says_without_its_weights_at_hand(tmp_path: Path) -> None:
    contract = load_contract(DEFAULT)
    alone = tmp_path / "model.onnx"
    alone.write_bytes((DEFAULT / "model.onnx").read_bytes())
    cost = graph_cost(read_graph(alone), shapes(contract.spec, contract.spec.text.token_limit))
    assert (cost.params, cost.flops) == (contract.cost.params, contract.cost.flops)
    assert cost.params == profile_system("effimini_lite0").params


def test_rows_add_up(exported: Callable[[str], Written]) -> None:
    graph = exported_graph(exported, "effimini_tiny")
    spec = spec_of(system("effimini_tiny"))
    one, three = (graph_cost(graph, shapes(spec, 8, rows)).macs for rows in (1, 3))
    assert three == 3 * one


def graph_of(
    nodes: list[Any], inputs: dict[str, list[int | str | None]], initializers: list[Any]
) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, side) for name, side in inputs.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "made", values, [output], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def cost_of(nodes: list[Any], inputs: dict[str, Any], initializers: list[Any]) -> GraphCost:
    return graph_cost(graph_of(nodes, inputs, initializers), {})


@pytest.mark.parametrize(
    ("kind", "attributes", "sides", "macs"),
    [
        ("MatMul", {}, ([3, 4], [4, 5]), 3 * 4 * 5),
        ("MatMul", {}, ([2, 6, 3, 4], [4, 5]), 2 * 6 * 3 * 4 * 5),
        ("MatMul", {}, ([2, 1, 3, 4], [6, 4, 5]), 2 * 6 * 3 * 4 * 5),
        ("Gemm", {}, ([3, 4], [4, 5]), 3 * 4 * 5),
        ("Gemm", {"transA": 1, "transB": 1}, ([4, 3], [5, 4]), 3 * 4 * 5),
        ("Conv", {"group": 2, "strides": [2, 2]}, ([1, 8, 9, 9], [6, 4, 3, 3]), 6 * 4 * 4 * 4 * 9),
        ("Conv", {}, ([1, 8, 9], [6, 8, 3]), 6 * 7 * 8 * 3),
        ("ConvTranspose", {"strides": [2, 2]}, ([1, 8, 4, 4], [8, 3, 2, 2]), 8 * 4 * 4 * 3 * 2 * 2),
        ("Einsum", {"equation": "bhqd, bhkd -> bhqk"}, ([2, 3, 5, 7], [2, 3, 6, 7]), 2 * 3 * 5 * 6 * 7),
    ],
)
def test_operations_cost_what_their_definition_says(
    kind: str, attributes: dict[str, Any], sides: tuple[list[int], list[int]], macs: int
) -> None:
    node = helper.make_node(kind, ["a", "b"], ["y"], **attributes)
    assert cost_of([node], {"a": sides[0], "b": sides[1]}, []) == GraphCost(params=0, macs=macs)


def test_functions_are_counted_where_they_are_called() -> None:
    body = [helper.make_node("MatMul", ["p", "q"], ["r"])]
    opset = [helper.make_opsetid("", 18)]
    function = helper.make_function("ours", "Product", ["p", "q"], ["r"], body, opset)
    calls = [
        helper.make_node("Product", ["a", "b"], ["c"], domain="ours"),
        helper.make_node("Product", ["c", "b"], ["y"], domain="ours"),
    ]
    graph = graph_of(calls, {"a": [3, 4], "b": [4, 4]}, [])
    graph.functions.append(function)
    graph.opset_import.append(helper.make_opsetid("ours", 1))
    assert graph_cost(graph, {}).macs == 2 * 3 * 4 * 4


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            helper.make_node("MatMulInteger", ["a", "b"], ["y"], name="n"),
            r"MatMulInteger \(n\) is an operation",
        ),
        (
            helper.make_node("FusedMatMul", ["a", "b"], ["y"], name="n", domain="com.microsoft"),
            r"FusedMatMul \(n\) is an operation whose FLOPs are not known",
        ),
        (
            helper.make_node("Einsum", ["a", "b"], ["y"], name="n", equation="...i,...i->..."),
            r"Einsum \(n\): only two factors with all indices named are counted",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused(node: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        cost_of([node], {"a": [3, 4], "b": [4, 5]}, [])


def test_a_shape_that_depends_on_values_is_refused() -> None:
    nodes = [
        helper.make_node("NonZero", ["a"], ["found"]),  # as many as there are
        helper.make_node("Cast", ["found"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["b", "floats"], ["y"], name="product"),
    ]
    with pytest.raises(
        ConfigurationError, match=r"MatMul \(product\): the shape of an operand cannot be told"
    ):
        cost_of(nodes, {"a": [3, 4], "b": [5, 2]}, [])


def open_graph(**inputs: list[int | str | None]) -> onnx.ModelProto:
    return graph_of([helper.make_node("Identity", [next(iter(inputs))], ["y"])], dict(inputs), [])


def test_what_a_graph_leaves_open_is_chosen() -> None:
    graph = open_graph(
        image=["batch", 3, None, "width"], input_ids=["batch", "tokens"], has_image=["batch", 1]
    )
    assert input_shapes(graph, 12, (64, 32)) == {
        "image": (1, 3, 64, 32),
        "input_ids": (1, 12),
        "has_image": (1, 1),
    }


@pytest.mark.parametrize(
    ("inputs", "tokens", "size", "message"),
    [
        ({"ids": ["b", "t"]}, None, None, "ids: the graph leaves its tokens open; choose with --tokens"),
        (
            {"image": ["b", 3, "h", "w"]},
            None,
            None,
            "image: the graph leaves its height open; choose with --size",
        ),
        ({"ids": ["b", 77]}, 12, None, "--tokens: the graph is made for one choice; leave it out"),
        ({"image": ["b", 3, 8, 8]}, None, (8, 8), "--size: the graph is made for one choice; leave it out"),
        ({"image": ["b", "c", 8, 8]}, None, None, "image: the length of axis 1 is open"),
    ],
)
def test_what_is_open_must_be_chosen_and_nothing_else(
    inputs: dict[str, Any], tokens: int | None, size: tuple[int, int] | None, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        input_shapes(open_graph(**inputs), tokens, size)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff\xfe no protobuf", "is no ONNX file: "),
        (b"", "is no ONNX model: there is no graph in it"),
    ],
)
def test_what_is_no_model_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        read_graph(path)
