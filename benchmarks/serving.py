"""The service under load, beside BentoML's own no-op: CPU a request, overload, slow bodies, swaps, kills.

    python benchmarks/serving.py [cost overload slow hostile memory swaps events ...]   (default: all)

CPU is what the serving process used (user and system). The no-op is a BentoML service exported as an ASGI app under the
same uvicorn, uvloop and httptools; the one that parses reads the same body with the same strict models. Each part is a
function in ``benchmarks/service/``. TOUCHSTONE_COMPANY names a workspace to use again, or to make.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

sys.path[0] = str(Path(__file__).parents[1])  # not this folder, whose serving.py is no package

from benchmarks.service.bars import MISSED  # noqa: E402
from benchmarks.service.cost import cost  # noqa: E402
from benchmarks.service.events import events  # noqa: E402
from benchmarks.service.load import NOW  # noqa: E402
from benchmarks.service.memory import hostile, memory  # noqa: E402
from benchmarks.service.noop import serve_noop  # noqa: E402
from benchmarks.service.overload import overload, slow  # noqa: E402
from benchmarks.service.swaps import swaps  # noqa: E402


def main() -> None:
    """Run the parts named."""
    if sys.argv[1:2] == ["noop"]:
        serve_noop(int(sys.argv[2]))
        return
    parts: dict[str, Callable[[Path], None]] = {
        part.__name__: part for part in (cost, overload, slow, hostile, memory, swaps, events)
    }
    with tempfile.TemporaryDirectory() as folder:
        made = company(Path(os.environ.get("TOUCHSTONE_COMPANY", f"{folder}/company")))
        for name in sys.argv[1:] or parts:
            print(f"\n{name}")
            parts[name](copytree(made, Path(folder) / name))
    print(f"\n{len(MISSED)} bars missed" + "".join(f"\n  {one}" for one in MISSED))
    sys.exit(bool(MISSED))


def company(workspace: Path) -> Path:
    """Return a workspace of 3,000 leads with a champion, made if it is not there."""
    if workspace.exists():
        return workspace
    from features.ingestion import files_in, ingest
    from features.lake import Lake
    from features.settings import Settings
    from simulation.company import Company
    from simulation.files import write
    from training.train import train

    settings, lake = Settings(), Lake(workspace / "lake")
    ingest(lake, settings, files_in(write(Company(NOW, leads=3000, days=300), workspace / "files")), NOW)
    train(lake, settings, workspace, NOW)
    return workspace


if __name__ == "__main__":
    main()
