"""The command line of edgekit-device, for programs that are not written in Python, and for supervisors.

    python3 edgekit-device.pyz current MODEL          prints the file to load; counts nothing
    python3 edgekit-device.pyz start MODEL            the same, and counts a start (falls back first if it has to)
    python3 edgekit-device.pyz healthy MODEL          the start went well
    python3 edgekit-device.pyz failed MODEL WHY       reports a failure; prints the file to load now
    python3 edgekit-device.pyz rollback MODEL         makes the previous artifact current
    python3 edgekit-device.pyz pull MODEL             makes what the followed channel has of a model current
    python3 edgekit-device.pyz status [MODEL]         one JSON document

`start` marks the process that called this program. Exit status: 0 done; 1 an error, told in one line; 2 wrong usage; 4
there is no model to load: the application's own fallback is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from . import links, record, whole
from .links import StoreError
from .model import MAX_FAILURES, WITHIN_S, Model, NoModelError, default_root, roll_back
from .pull import pull

if TYPE_CHECKING:
    from typing import Dict, Sequence


def main(argv: Sequence[str]) -> int:
    arguments = _parser().parse_args(argv[1:])
    root = os.path.abspath(arguments.root) if arguments.root else default_root()
    try:
        if arguments.do == "status":
            names = [arguments.model] if arguments.model else links.models(root)
            print(json.dumps({"root": root, "models": [_status(root, name) for name in names]}, indent=2))
        elif arguments.do == "pull":
            print(json.dumps(pull(root, arguments.model)._asdict()))
        elif arguments.do == "rollback":
            print(roll_back(root, arguments.model).current)
        else:
            print(_model(arguments, root))
    except NoModelError as error:
        print("edgekit-device: %s" % error, file=sys.stderr)
        return 4
    except (StoreError, OSError) as error:
        print("edgekit-device: %s" % error, file=sys.stderr)
        return 1
    return 0


def _model(arguments: argparse.Namespace, root: str) -> str:
    model = Model(arguments.model, root, arguments.max_failures, arguments.within_s, pid=os.getppid())
    if arguments.do == "start":
        model.start()
    else:
        model.attach()
        if arguments.do == "healthy":
            model.healthy()
        elif arguments.do == "failed":
            model.failed(arguments.why)
            model.attach()
    return model.payload


def _status(root: str, name: str) -> Dict[str, Any]:
    found = links.read(root, name)
    entries = record.read(links.folder_of(root, name))
    return {
        "model": name,
        "current": found.current,
        "previous": found.previous,
        "whole": bool(found.current) and whole.is_whole(root, str(found.current)),
        "left_behind": sorted(record.left_behind(entries)),
        "log": [entry._asdict() for entry in entries[-20:]],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edgekit-device", description="Which model to load, and what if it fails.")
    parser.add_argument("--root", help="the store [default: $EDGEKIT_ROOT, or where this program lies]")
    commands = parser.add_subparsers(dest="do", metavar="COMMAND")
    commands.required = True
    for name, told in (
        ("current", "print the file to load"),
        ("start", "count a start, and print the file to load"),
        ("healthy", "the start went well"),
        ("failed", "report a failure, and print the file to load now"),
        ("rollback", "make the previous artifact current, and print its id"),
    ):
        command = commands.add_parser(name, help=told)
        command.add_argument("model")
        command.add_argument("--max-failures", type=int, default=MAX_FAILURES, help="[default: %(default)s]")
        command.add_argument("--within-s", type=float, default=WITHIN_S, help="[default: %(default)s]")
        if name == "failed":
            command.add_argument("why")
    command = commands.add_parser("pull", help="make what the followed channel has of a model current")
    command.add_argument("model")
    status = commands.add_parser("status", help="what is here, as JSON")
    status.add_argument("model", nargs="?")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv))
