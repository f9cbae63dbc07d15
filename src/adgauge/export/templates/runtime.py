"""Opens the model.onnx of a version's folder for the CPU, with the runtime that its contract.json names.

A copy stands in every version's folder, where Triton's python backend finds it without adgauge. Runtimes are
imported when one is asked for: each takes a quarter of a second and tens of megabytes.
"""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Run = Callable[[Mapping[str, Array]], Array]
"""Input name → [rows, …] to scores, float32 [rows, 1]; a runtime's own exception where it cannot."""

FLOAT32_UNTIL = "adgauge.float32_until"
"""Metadata of a bf16 graph: the tensor up to which it is computed in float32 nevertheless."""

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def open_graph(folder: Path) -> Run:
    """The graph of a version's folder, ready to run; seconds of work.

    Raises ValueError where the contract names a runtime that is not known or cannot do its precision.
    """
    contract = json.loads((folder / "contract.json").read_bytes())  # UTF-8, whatever the locale
    runtime, precision = contract["cpu_runtime"], contract["precision"]
    output = contract["outputs"][0]["name"]
    if runtime == "openvino" and precision != "fp16":  # its shapes of casts to fp16 are wrong in 2026.4
        return openvino_run(folder / "model.onnx", output, bfloat16=precision == "bf16")
    if runtime == "onnxruntime" and precision != "bf16":
        return _onnxruntime(folder / "model.onnx", output)
    raise ValueError(f"{folder}: nothing runs {precision} with cpu_runtime {runtime}; export the model again")


def _onnxruntime(graph: Path, output: str) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = owned_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(rows: Mapping[str, Array]) -> Array:
        scores: Array = session.run([output], rows)[0]
        return scores

    return run


def openvino_run(graph: Path, output: str, *, bfloat16: bool) -> Run:
    """A graph in float32, or in bfloat16 where the CPU has it, from where its metadata say so."""
    import openvino

    core = openvino.Core()
    model = core.read_model(graph)
    if not bfloat16 or not has_bfloat16():
        return _compiled(core, model, output, "f32")
    if not model.has_rt_info(["framework", FLOAT32_UNTIL]):
        return _compiled(core, model, output, "bf16")
    name = model.get_rt_info(["framework", FLOAT32_UNTIL]).value
    front = _compiled(core, _split(model, name), name, "f32")
    back = _compiled(core, model, output, "bf16")
    return lambda rows: back({**rows, name: front(rows)})


def has_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16, as OpenVINO sees it."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _split(model: Any, name: str) -> Any:
    """Cut a model at a tensor: returns what leads to it, and leaves `model` with the tensor as an input."""
    import openvino
    from openvino import opset13

    inputs = model.get_parameters()
    (cut,) = [output for node in model.get_ops() for output in node.outputs() if name in output.names]
    taken = cut.get_target_inputs()
    given = opset13.parameter(cut.partial_shape, cut.element_type)
    for each in taken:
        each.replace_source_output(given.output(0))
    given.output(0).set_names({name})
    model.add_parameters([given])
    return openvino.Model([cut], inputs)


def _compiled(core: Any, model: Any, output: str, precision: str) -> Run:
    options = {
        # Without it a CPU that has bfloat16 uses it, whatever the graph is in.
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": owned_cores(),
        "NUM_STREAMS": 1,  # we run one batch at a time, on all threads
        "ENABLE_CPU_PINNING": False,  # two servers on one machine would pin themselves to the same cores
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # its scales would depend on the other rows
    }
    request = core.compile_model(model, "CPU", options).create_infer_request()
    inputs = [each.any_name for each in request.model_inputs]

    def run(rows: Mapping[str, Array]) -> Array:
        request.infer({name: rows[name] for name in inputs if name in rows})
        return np.array(request.get_tensor(output).data)  # its memory is the next run's too

    return run


def owned_cores() -> int:
    """How many threads use all that this process may: its affinity, and a container's quota of CPU time.

    A quota of 1.5 cores is worth two threads: one would leave a third of it unused.
    """
    affinity = len(os.sched_getaffinity(0))
    return max(1, math.ceil(min([affinity, *_quotas(CGROUPS, MEMBERSHIP.read_text())])))


def _quotas(root: Path, membership: str) -> Iterator[float]:
    """Cores' worth of time that the control groups above us allow, of those that have a limit.

    `membership` is the text of /proc/self/cgroup, "0::/path" (version 2) and "4:cpu:/path" (version 1).
    In a container the path may be the host's, which is not visible: then the mounted root is our own group.
    """
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / controllers
        for group in (PurePosixPath(path), *PurePosixPath(path).parents):
            limit = _quota(mount / group.relative_to("/"))
            if limit is not None:
                yield limit


def _quota(group: Path) -> float | None:
    """Quota over period of one group; None where there is no limit, or no such group."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 else None
    except (OSError, ValueError):  # files of the kernel: absent, or of a form that we do not know
        return None
