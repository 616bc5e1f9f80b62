"""Attribution: all rules, Markov 1, Shapley and their intervals together, beside ChannelAttribution's Markov 1 alone.

Both read the same Parquet file of path strings. Each figure is the CPU of a process of its own (imports aside) and its
peak memory. Bars: at most 0.08 times the rival's CPU, 1.5 GiB, and 200 channels at most 3 times 20. ``--quick`` takes
small files; without ChannelAttribution (the extra ``rival``), a plain GROUP BY path stands in, without a bar.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # not this folder, whose attribution.py is no package

MODELS = ["first", "last", "linear", "position_based", "time_decay", "markov:1", "shapley"]
FULL, QUICK = ((1_000_000, 20), (10_000_000, 20), (1_000_000, 200)), ((50_000, 20), (100_000, 20), (50_000, 200))
CONVERTING, LONGER, CHUNK = 0.2, 0.75, 250_000
BAR_CPU, BAR_GIB, BAR_CHANNELS = 0.08, 1.5, 3.0


def main() -> None:
    """Measure every size, print the figures, and end with status 1 when a bar is missed."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(ONES[sys.argv[2]](Path(sys.argv[3]))))
        return
    sizes, full = (QUICK, False) if "--quick" in sys.argv else (FULL, True)
    rival = "rival" if find_spec("ChannelAttribution") else "group_by"
    print(f"journeys   channels  ours CPU s  GiB   {rival} CPU s   ratio")
    cpu, missed = {}, 0
    with tempfile.TemporaryDirectory() as folder:
        for journeys, channels in sizes:
            file = Path(folder) / f"{journeys}-{channels}.parquet"
            write(file, journeys, channels)
            (ours, gib), (theirs, _) = measured("ours", file), measured(rival, file)
            cpu[journeys, channels] = ours
            failed = full and channels == 20 and rival == "rival" and (ours > BAR_CPU * theirs or gib > BAR_GIB)
            missed += failed
            print(f"{journeys:10,} {channels:5} {ours:11.2f} {gib:8.2f} {theirs:11.1f} {ours / theirs:11.3f}"
                  f"  {'MISSED' if failed else ''}", flush=True)  # fmt: skip
            file.unlink()
    wide = cpu[sizes[2]] / cpu[sizes[0]]
    missed += full and wide > BAR_CHANNELS
    print(f"200 channels cost {wide:.1f} times 20 (bar {BAR_CHANNELS}); {missed} bars missed")
    sys.exit(1 if missed else 0)


def write(file: Path, journeys: int, channels: int) -> None:
    """Write one row a journey: geometric lengths of mean 4, channels by Zipf's law."""
    random = np.random.default_rng(1)
    names = pa.array([f"Channel {i:03d}" for i in range(channels)])
    share = 1 / np.arange(1, channels + 1)
    columns = [("path", pa.string()), ("conversions", pa.int64()), ("value", pa.float64()), ("nulls", pa.int64())]
    schema = pa.schema(columns)
    with pq.ParquetWriter(file, schema) as writer:
        for done in range(0, journeys, CHUNK):
            rows = min(CHUNK, journeys - done)
            length = np.minimum(random.geometric(1 - LONGER, rows), 30)
            steps = names.take(pa.array(random.choice(channels, length.sum(), p=share / share.sum())))
            lists = pa.ListArray.from_arrays(pa.array(np.append(0, np.cumsum(length)).astype(np.int32)), steps)
            won = (random.random(rows) < CONVERTING).astype(np.int64)
            value = np.round(won * random.lognormal(4, 1, rows), 2)
            writer.write_table(pa.table([pc.binary_join(lists, " > "), won, value, 1 - won], schema=schema))


def measured(who: str, file: Path) -> tuple[float, float]:
    """Return CPU seconds and peak GiB of a process of its own."""
    words = [sys.executable, __file__, "--one", who, str(file)]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout  # noqa: S603  # this very file
    cpu = json.loads(said.strip().splitlines()[-1])
    return cpu[0], cpu[1]


def ours(file: Path) -> tuple[float, float]:
    """Run our models, once on a small file so that compiled code is loaded."""
    from attribution.credit import credit
    from attribution.paths import path_parts

    small = file.with_name("small.parquet")
    pq.write_table(pa.table(next(pq.ParquetFile(file).iter_batches(1_000))), small)
    credit(path_parts(small), MODELS)
    began = time.process_time()
    credit(path_parts(file), MODELS, replicates=200)
    return time.process_time() - began, peak()


def rival(file: Path) -> tuple[float, float]:
    """Run ChannelAttribution's Markov 1, without any interval."""
    import ChannelAttribution
    import pandas as pd

    began = time.process_time()
    ChannelAttribution.markov_model(pd.read_parquet(file), "path", "conversions", var_null="nulls", flg_pro=False,
                                    verbose=False)  # fmt: skip
    return time.process_time() - began, peak()


def group_by(file: Path) -> tuple[float, float]:
    """Count paths, and nothing else."""
    import duckdb

    began = time.process_time()
    with duckdb.connect() as connection:
        connection.execute("SELECT path, sum(conversions) FROM read_parquet($1) GROUP BY path", [str(file)]).fetchall()
    return time.process_time() - began, peak()


def peak() -> float:
    """Return the peak memory of this process in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


ONES = {"ours": ours, "rival": rival, "group_by": group_by}


if __name__ == "__main__":
    main()
