"""tritonserver from the `nvidia-pytriton` wheel, which an environment of its own holds.

That environment is separate because Triton's python stub returns empty outputs with status OK when
it meets numpy 2.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adgauge.contract import load_contract, require_files, version_folders
from services.embedded.guard import SHARED_MEMORY
from services.embedded.ports import HOST, claim, free_port
from services.embedded.probes import http_ok
from services.embedded.processes import ServerFailed, ServerProcess
from services.embedded.settings import child_environment
from services.embedded.workspace import Workspace, require_space

EXIT_TIMEOUT_S = 30
NEEDED_SHM_BYTES = 48 * 2**20
_REMEDY = "run `make .venv-triton/ready`, or set ADGAUGE_TRITON_VENV or ADGAUGE_TRITON_URL"
_DESCRIBE = """\
import json, sys, sysconfig
from importlib import metadata
print(json.dumps({
    "version": "{}.{}".format(*sys.version_info), "libraries": sysconfig.get_config_var("LIBDIR"),
    "packages": sysconfig.get_path("purelib"),
    "numpy": next((d.version for d in metadata.distributions(name="numpy")), None),
}))"""


@dataclass(frozen=True)
class TritonEnvironment:
    """Where one virtual environment keeps tritonserver and what its python stub needs."""

    venv: Path
    version: str
    libraries: Path
    server: Path

    @property
    def stub(self) -> Path:
        """The python stub built for this environment's Python."""
        return self.server / "python_backend_stubs" / self.version / "triton_python_backend_stub"

    def variables(self) -> dict[str, str]:
        """The server's environment: its stub takes the first `python3` on PATH."""
        inherited = child_environment()
        path = f"{self.venv / 'bin'}:{inherited.get('PATH', '/usr/bin:/bin')}"
        return inherited | {"PATH": path, "LD_LIBRARY_PATH": str(self.libraries)}


@dataclass(frozen=True)
class Triton:
    """A started server that loads `models`."""

    process: ServerProcess
    models: tuple[str, ...]
    grpc_port: int
    http_port: int
    metrics_port: int

    @property
    def url(self) -> str:
        """`host:port` of the gRPC endpoint."""
        return f"{HOST}:{self.grpc_port}"

    @property
    def metrics_url(self) -> str:
        """Prometheus text format."""
        return f"http://{HOST}:{self.metrics_port}/metrics"

    def wait_until_ready(self, *, timeout_s: float = 90.0) -> None:
        """Return when the server and each model are ready; raises ServerFailed."""
        paths = ["/v2/health/ready", *(f"/v2/models/{model}/ready" for model in self.models)]
        self.process.wait_until(
            lambda: all(http_ok(self.http_port, path) for path in paths), timeout_s=timeout_s
        )


def start_triton(
    workspace: Workspace,
    *,
    venv: Path,
    repository: Path,
    models: Sequence[str],
    config_name: str = "cpu",
    port: int | None = None,
    flags: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Triton:
    """Start tritonserver on loopback with exactly `models` of `repository`.

    Raises ServerFailed, or ContractMismatch when a model's files are not those of its contract.

    `config_name` picks `configs/<config_name>.pbtxt` of a model where it exists, else `config.pbtxt`. `flags`
    come last on the command line: of two equal ones the later counts. `variables` are added to the server's
    environment, or replace what is there.
    """
    for model in models:
        if not (repository / model).is_dir():
            raise ServerFailed(f"there is no model {model} in {repository}: set ADGAUGE_MODEL_REPOSITORY")
        for version in version_folders(repository / model).values():
            require_files(version, load_contract(version))
    require_space(SHARED_MEMORY, NEEDED_SHM_BYTES, "free some (in a container: --shm-size=256m)")
    environment = find_environment(venv.absolute())
    backends = _link_backends(environment, workspace)
    grpc = claim(port, "ADGAUGE_TRITON_PORT")
    http = free_port({grpc})
    ports = grpc, http, free_port({grpc, http})
    argv: list[str | Path] = [
        environment.server / "bin/tritonserver",
        f"--model-repository={repository.absolute()}",
        f"--backend-directory={backends}",
        f"--cache-directory={environment.server / 'caches'}",
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in models),
        f"--model-config-name={config_name}",
        "--disable-auto-complete-config",
        *_endpoints(*ports),
        "--allow-gpu-metrics=false",
        f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
        f"--backend-config=python,shm-region-prefix-name={workspace.shm_prefix}{ports[0]}_",
        *flags,
    ]
    process = workspace.start("triton", argv, environment.variables() | dict(variables or {}))
    return Triton(process, tuple(models), *ports)


def find_environment(venv: Path) -> TritonEnvironment:
    """Inspect `venv`; raises ServerFailed when Triton or its stub could not run from it."""
    python = venv / "bin/python3"
    if not python.exists():
        raise ServerFailed(f"Triton's environment {venv} is missing: {_REMEDY}")
    described = json.loads(_output([python, "-I", "-c", _DESCRIBE]))
    if not (described["numpy"] or "").startswith("1."):
        raise ServerFailed(f"{venv} holds numpy {described['numpy']}, Triton's stub needs numpy 1: {_REMEDY}")
    server = Path(described["packages"]) / "pytriton/tritonserver"
    environment = TritonEnvironment(venv, described["version"], Path(described["libraries"]), server)
    if not environment.stub.exists():
        raise ServerFailed(f"{venv} has no nvidia-pytriton for Python {environment.version}: {_REMEDY}")
    require_libraries(environment)
    return environment


def require_libraries(environment: TritonEnvironment) -> None:
    """Raise ServerFailed where the stub lacks a library: the server would wait for it without end."""
    listed = _output(["ldd", environment.stub], {"LD_LIBRARY_PATH": str(environment.libraries)})
    missing = [line.split()[0] for line in listed.splitlines() if "not found" in line]
    if missing:
        raise ServerFailed(
            f"Triton's python stub lacks {', '.join(missing)}: install libpython{environment.version},"
            " or build the environment from a Python that has its shared library"
        )


def _link_backends(environment: TritonEnvironment, workspace: Workspace) -> Path:
    """Lay out the python backend as the server expects it: the wheel keeps its parts apart."""
    backends = workspace.folder / "backends"
    if backends.exists():  # a server is started again
        return backends
    backends.mkdir()
    (backends / "python").mkdir()
    parts = environment.server / "backends/python"
    for part in (parts / "libtriton_python.so", parts / "triton_python_backend_utils.py", environment.stub):
        (backends / "python" / part.name).symlink_to(part)
    return backends


def _endpoints(grpc: int, http: int, metrics: int) -> list[str]:
    ports = {"grpc": grpc, "http": http, "metrics": metrics}
    return [
        flag for name, port in ports.items() for flag in (f"--{name}-address={HOST}", f"--{name}-port={port}")
    ]


def _output(argv: Sequence[str | Path], env: dict[str, str] | None = None) -> str:
    variables = child_environment() | (env or {})
    try:
        return subprocess.run(argv, env=variables, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as exc:
        raise ServerFailed(f"cannot inspect Triton's environment with {argv[0]}: {exc}; {_REMEDY}") from exc
