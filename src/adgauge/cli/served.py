"""`adgauge models list | load | unload | status`: what Triton serves, asked of every replica by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from adgauge.adapters.admission import admit
from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.adapters.triton import (
    READY,
    IndexedVersion,
    LoadedVersion,
    ModelRepository,
    TritonConnection,
)
from adgauge.contract import ModelContract, load_contract
from adgauge.errors import AdgaugeError, ConfigurationError, ContractMismatch
from adgauge.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a model's folder says of what one replica serves.

    `same_contract` None: it does not serve the folder's version. `golden` None: its records score as
    recorded; else why not.
    """

    version: int
    same_contract: bool | None
    golden: str | None

    @property
    def ok(self) -> bool:
        """The folder's scorers could use it."""
        return self.same_contract is True and self.golden is None


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """A version and, where it is ready, how it is served."""

    indexed: IndexedVersion
    loaded: LoadedVersion | None


@dataclass(frozen=True, slots=True)
class Folder:
    """A model's folder and its contract."""

    path: Path
    contract: ModelContract


def list_models(*, as_json: bool) -> int:
    """Print every model and version of each replica's repository."""
    found: dict[str, list[IndexedVersion]] = {}
    for replica in _connection().replicas():
        with closing(ModelRepository(replica)) as repository:
            found[replica.url] = repository.index()
    if as_json:
        models = [{"replica": url} | asdict(each) for url, index in found.items() for each in index]
        print(json.dumps(models, ensure_ascii=False))
        return 0
    for url, index in found.items():
        print(f"{url}{'' if index else ' — the repository is empty'}")
        for line in index_lines(index):
            print(f"  {line}")
    return 0


def load_model(name: str, *, model_dir: Path | None, wait_s: float, as_json: bool) -> int:
    """Load it at one replica after the other; the first that fails ends it, and later ones stay as they are.

    Raises ContractMismatch where what was loaded is not what the folder says.
    """
    settings = load_settings(ServerSettings)
    folder = model_folder(name, None, model_dir, settings.model_dir)
    documents = []
    for replica in settings.triton().replicas():
        with closing(ModelRepository(replica)) as repository:
            ready = repository.load(name, wait_s)
        if folder is not None:
            _require_as_recorded(folder, replica)
        documents.append({"replica": replica.url, "ready": ready, "golden": folder is not None})
        if not as_json:
            checked = f"version {folder.contract.version} scores as recorded" if folder else _NOT_CHECKED
            print(f"{replica.url} — {name} {_ready(ready)}; {checked}")
    if as_json:
        print(json.dumps({"model": name, "replicas": documents}))
    return 0


def unload_model(name: str, *, wait_s: float, as_json: bool) -> int:
    """Unload it at every replica."""
    documents = []
    for replica in _connection().replicas():
        with closing(ModelRepository(replica)) as repository:
            were = repository.unload(name, wait_s)
        documents.append({"replica": replica.url, "unloaded": were})
        if not as_json:
            what = f"unloaded, was {_ready(were)}" if were else "was not loaded"
            print(f"{replica.url} — {name} {what}")
    if as_json:
        print(json.dumps({"model": name, "replicas": documents}))
    return 0


def model_status(name: str, version: int | None, *, model_dir: Path | None, as_json: bool) -> int:
    """Print how each replica serves it; 1 when one has no ready version, or not what the folder says."""
    settings = load_settings(ServerSettings)
    folder = model_folder(name, version, model_dir, settings.model_dir)
    documents, good = [], True
    for replica in settings.triton().replicas():
        versions = _versions(replica, name, version)
        verdict = None if folder is None else _verdict(folder, replica, versions)
        is_ready = any(each.loaded is not None for each in versions)
        good = good and is_ready and (verdict is None or verdict.ok)
        documents.append(_document(replica.url, versions, verdict))
        if not as_json:
            print(replica.url)
            for line in [*status_lines(versions), *verdict_lines(verdict)]:
                print(f"  {line}")
    if as_json:
        print(json.dumps({"model": name, "replicas": documents}, ensure_ascii=False))
    return 0 if good else 1


def model_folder(
    name: str, version: int | None, given: Path | None, configured: Path | None
) -> Folder | None:
    """The folder to compare with: the given one, else the configured one where it is of this model.

    Raises ConfigurationError when the given one is of another model or version.
    """
    path = given or configured
    if path is None:
        return None
    contract = load_contract(path)
    if contract.name == name and version in {None, contract.version}:
        return Folder(path, contract)
    if given is None:
        return None
    asked = name if version is None else f"{name} version {version}"
    raise ConfigurationError(f"--model-dir {path} is {contract.name} version {contract.version}, not {asked}")


def index_lines(index: Sequence[IndexedVersion]) -> list[str]:
    """A line for each: name, version, state, reason, in columns."""
    rows = [(each.model, "-" if each.version is None else str(each.version), each.state) for each in index]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row, each in zip(rows, index, strict=True):
        shown = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([*shown, each.reason]).rstrip())
    return lines


def status_lines(versions: Sequence[VersionStatus]) -> list[str]:
    """What people read of each version."""
    lines = []
    for each in versions:
        indexed = each.indexed
        what = "" if indexed.version is None else f" version {indexed.version}"
        reason = f": {indexed.reason}" if indexed.reason else ""
        lines.append(f"{indexed.model}{what} is {indexed.state}{reason}")
        lines += [] if each.loaded is None else [f"  {line}" for line in _loaded_lines(each.loaded)]
    return lines


def verdict_lines(verdict: Verdict | None) -> list[str]:
    """What the folder says, if one was compared with."""
    if verdict is None:
        return [_NOT_CHECKED]
    contract = {True: "ok   the served contract is the folder's", False: "FAIL another contract is served"}
    missing = f"FAIL the folder's version {verdict.version} is not ready"
    first = missing if verdict.same_contract is None else contract[verdict.same_contract]
    golden = "ok   golden records score as recorded" if verdict.golden is None else f"FAIL {verdict.golden}"
    return [first, golden] if verdict.same_contract else [first]


_NOT_CHECKED = "golden records not checked: neither --model-dir nor ADGAUGE_MODEL_DIR names its folder"


def _loaded_lines(loaded: LoadedVersion) -> list[str]:
    batching, statistics = loaded.batching, loaded.statistics
    preferred = ", ".join(map(str, batching.preferred_rows)) or "any"
    per_execution = f", {statistics.rows / statistics.executions:.1f} each" if statistics.executions else ""
    return [
        f"contract    {loaded.digest or 'none is named'}",
        f"policy      {loaded.version_policy}",
        f"batches     at most {batching.max_rows} rows, preferred {preferred}, wait {batching.delay_us} µs",
        f"instances   {', '.join(loaded.instances) or 'none'}",
        f"rows        {statistics.rows} in {statistics.executions} executions{per_execution};"
        f" {statistics.failed_requests} requests failed",
        f"time        queue {_ms(statistics.queue_ms)}, compute {_ms(statistics.compute_ms_per_row)} per row",
    ]


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} ms"


def _ready(versions: Sequence[int]) -> str:
    return f"ready: version{'s' if len(versions) > 1 else ''} {', '.join(map(str, versions))}"


def _document(url: str, versions: Sequence[VersionStatus], verdict: Verdict | None) -> dict[str, object]:
    return {
        "replica": url,
        "versions": [
            asdict(each.indexed) | {"served": None if each.loaded is None else asdict(each.loaded)}
            for each in versions
        ],
        "folder": None if verdict is None else asdict(verdict),
    }


def _versions(replica: TritonConnection, name: str, version: int | None) -> list[VersionStatus]:
    with closing(ModelRepository(replica)) as repository:
        index = [each for each in repository.versions(name) if version in {None, each.version}]
        index = index or [IndexedVersion(name, version, "not loaded", "")]
        return [VersionStatus(each, _loaded(repository, each)) for each in index]


def _loaded(repository: ModelRepository, each: IndexedVersion) -> LoadedVersion | None:
    if each.version is None or each.state != READY:
        return None
    return repository.loaded(each.model, each.version)


def _verdict(folder: Folder, replica: TritonConnection, versions: Sequence[VersionStatus]) -> Verdict:
    ours = folder.contract
    served = [each.loaded for each in versions if each.indexed.version == ours.version]
    if not served or served[0] is None:
        return Verdict(ours.version, None, None)
    same = served[0].digest == ours.digest()
    return Verdict(ours.version, same, _complaint(folder, replica) if same else None)


def _complaint(folder: Folder, replica: TritonConnection) -> str | None:
    try:
        _score_golden(folder, replica)
    except AdgaugeError as error:
        return " ".join(str(error).split())
    return None


def _require_as_recorded(folder: Folder, replica: TritonConnection) -> None:
    try:
        _score_golden(folder, replica)
    except AdgaugeError as error:
        raise ContractMismatch(
            f"{replica.url} has loaded {folder.contract.name}, and no scorer may use it: {error}"
        ) from error


def _score_golden(folder: Folder, replica: TritonConnection) -> None:
    """What a scorer does at its start."""
    admit(folder.path, replica, Metrics(CollectorRegistry()), requests=1).scorer.close()


def _connection() -> TritonConnection:
    return load_settings(ServerSettings).triton()
