"""Throughput, latency and batch curves of every system on a GPU, behind a real tritonserver.

    python -m benchmarks.gpu --models effimini_vlm,pinco --precisions fp32,fp16,bf16 --out figures.json

`benchmarks/gpu/README.md` says how to prepare a machine without a network, docs/benchmarks.md how to read it.
"""

import sys

try:
    from benchmarks.gpu.run import main
except ModuleNotFoundError as missing:
    sys.exit(
        f"benchmarks.gpu: this Python has no {missing.name}: carry its wheel as benchmarks/gpu/README.md says"
    )

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
