"""The arguments of `adgauge models`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from adgauge.cli.arguments import add_json, command_of, count, positive

if TYPE_CHECKING:
    from adgauge.cli.arguments import Commands

_LOADING = """\
Load a model, or its new versions, at every replica of Triton and wait until it is ready.

Scorers name the version of their contract, so a new version gets no traffic before scorers
are started with its folder. Give that folder here first (--model-dir, ADGAUGE_MODEL_DIR):
at each replica its contract and golden records are checked before the next one loads it,
and 0 means that scorers may use it."""
_WAITING = "a model that loads slowly may need more (default: 300)"


def add_models(commands: Commands) -> None:
    """`adgauge models list | load | unload | status | verify | configure`."""
    models = command_of(
        commands,
        "models",
        "look at models, and load and unload them in Triton",
        "adgauge models list",
        "adgauge models verify model_repository/effimini_lite0/1",
    )
    actions = models.add_subparsers(metavar="ACTION", required=True)
    _add_list(actions)
    _add_load(actions)
    _add_unload(actions)
    _add_status(actions)
    _add_verify(actions)
    _add_configure(actions)


def _add_list(actions: Commands) -> None:
    listing = command_of(
        actions,
        "list",
        "print every model of Triton's repository with its versions and their states",
        "adgauge models list",
        "adgauge models list --json",
    )
    add_json(listing)
    listing.set_defaults(run=_list)


def _add_load(actions: Commands) -> None:
    load = command_of(
        actions,
        "load",
        "load a model, or its new versions, at every replica of Triton and wait until it is ready",
        "adgauge models load effimini_lite0",
        "adgauge models load effimini_lite0 --model-dir model_repository/effimini_lite0/2",
    )
    load.description = _LOADING
    load.add_argument("name", metavar="NAME", help="of a model in Triton's repository")
    _add_model_dir(load)
    load.add_argument("--timeout", type=positive, default=300.0, metavar="SECONDS", help=_WAITING)
    add_json(load)
    load.set_defaults(run=_load)


def _add_unload(actions: Commands) -> None:
    unload = command_of(
        actions,
        "unload",
        "take every version of a model out of service; scorers that use it wait until it is back",
        "adgauge models unload effimini_lite0",
    )
    unload.add_argument("name", metavar="NAME", help="of a model in Triton's repository")
    unload.add_argument("--timeout", type=positive, default=300.0, metavar="SECONDS", help="(default: 300)")
    add_json(unload)
    unload.set_defaults(run=_unload)


def _add_status(actions: Commands) -> None:
    status = command_of(
        actions,
        "status",
        "say how a model is served: state, batches, instances, contract, statistics",
        "adgauge models status effimini_lite0",
        "adgauge models status effimini_lite0 --version 2 --model-dir model_repository/effimini_lite0/2",
    )
    status.add_argument("name", metavar="NAME", help="of a model in Triton's repository")
    status.add_argument("--version", type=count, metavar="N", help="only this one (default: each)")
    _add_model_dir(status)
    add_json(status)
    status.set_defaults(run=_status)


def _add_model_dir(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model-dir",
        type=Path,
        metavar="DIR",
        help="a version's folder: is its contract the served one, and do its golden records score as"
        " recorded (default: ADGAUGE_MODEL_DIR where that is this model's)",
    )


def _add_verify(actions: Commands) -> None:
    verify = command_of(
        actions,
        "verify",
        "compare the files of a version, or of a model with all its versions, with the contracts",
        "adgauge models verify model_repository/effimini_lite0/1",
        "adgauge models verify model_repository/effimini_lite0",
    )
    verify.add_argument("dir", metavar="DIR", type=Path, help="folder of a version or of a model")
    add_json(verify)
    verify.set_defaults(run=_verify)


def _add_configure(actions: Commands) -> None:
    configure = command_of(
        actions,
        "configure",
        "write Triton's configuration anew for the versions in a model's folder, after one was removed",
        "rm -r model_repository/effimini_lite0/1 && adgauge models configure model_repository/effimini_lite0",
    )
    configure.add_argument("dir", metavar="DIR", type=Path, help="the model's folder")
    configure.set_defaults(run=_configure)


def _list(arguments: argparse.Namespace) -> int:
    from adgauge.cli.served import list_models

    return list_models(as_json=arguments.json)


def _load(arguments: argparse.Namespace) -> int:
    from adgauge.cli.served import load_model

    return load_model(
        arguments.name, model_dir=arguments.model_dir, wait_s=arguments.timeout, as_json=arguments.json
    )


def _unload(arguments: argparse.Namespace) -> int:
    from adgauge.cli.served import unload_model

    return unload_model(arguments.name, wait_s=arguments.timeout, as_json=arguments.json)


def _status(arguments: argparse.Namespace) -> int:
    from adgauge.cli.served import model_status

    return model_status(
        arguments.name, arguments.version, model_dir=arguments.model_dir, as_json=arguments.json
    )


def _verify(arguments: argparse.Namespace) -> int:
    from adgauge.cli.models import verify_model

    return verify_model(arguments.dir, as_json=arguments.json)


def _configure(arguments: argparse.Namespace) -> int:
    from adgauge.cli.models import configure_model

    return configure_model(arguments.dir)
