"""Attribution: all rules, Markov 1, Shapley and their intervals together, beside ChannelAttribution's Markov 1 alone.

Both read the same Parquet file of path strings. Each figure is the CPU of a process of its own (imports aside) and its
peak memory; of short runs, the median of five, in turns with the rival. Bars: at most 0.08 times the rival's CPU,
1.5 GiB, and 200 channels at most 3 times 20; and to tell the best order of a chain, up to 3, costs no more than the
rival takes. ``--quick`` takes small files; without ChannelAttribution (the extra ``rival``), a plain GROUP BY path
stands in, without a bar.
"""

from __future__ import annotations

# ruff: noqa: E402, I001

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # not this folder, whose attribution.py is no package

from features.memory import keep_freed_memory

if "ours" in sys.argv:
    keep_freed_memory()  # as the command does, before all else

import json
import resource
import subprocess
import tempfile
import time
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MODELS = ["first", "last", "linear", "position_based", "time_decay", "markov:1", "shapley"]
FULL = ((1_000_000, 20, 5), (10_000_000, 20, 1), (1_000_000, 200, 5))  # journeys, channels, runs
QUICK = ((50_000, 20, 1), (100_000, 20, 1), (50_000, 200, 1))
CONVERTING, LONGER, CHUNK = 0.2, 0.75, 250_000
MOST = 3  # order of a chain
BAR_CPU, BAR_GIB, BAR_CHANNELS, BAR_ORDER = 0.08, 1.5, 3.0, 1.0


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
        for journeys, channels, runs in sizes:
            file = Path(folder) / f"{journeys}-{channels}.parquet"
            write(file, journeys, channels)
            figures = np.array([[measured(who, file) for who in ("ours", rival)] for _ in range(runs)])
            (ours, gib), (theirs, _) = np.median(figures, axis=0)
            cpu[journeys, channels] = ours
            failed = full and channels == 20 and rival == "rival" and (ours > BAR_CPU * theirs or gib > BAR_GIB)
            missed += failed
            print(f"{journeys:10,} {channels:5} {ours:11.2f} {gib:8.2f} {theirs:11.1f} {ours / theirs:11.3f}"
                  f"  {'MISSED' if failed else ''}", flush=True)  # fmt: skip
            if (journeys, channels, runs) == sizes[0] and rival == "rival":
                ordered = [measured(who, file)[0] for who in ("our_order", "their_order")]
                missed += ordered[0] > BAR_ORDER * ordered[1]
                print(f"the best order up to {MOST} of these: {ordered[0]:.2f} CPU s, {rival} {ordered[1]:.1f}"
                      f" (bar {BAR_ORDER})", flush=True)  # fmt: skip
            file.unlink()
    wide = cpu[sizes[2][:2]] / cpu[sizes[0][:2]]
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
    """Run our models, once on some small parts so that compiled code is loaded."""
    from attribution.credit import credit
    from attribution.paths import path_parts

    credit([*path_parts(small(file))] * 3, MODELS)
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


def our_order(file: Path) -> tuple[float, float]:
    """Tell the best order of a chain, once of a small file before."""
    from attribution.chains import best_order
    from attribution.paths import read_paths

    best_order(read_paths(small(file)), MOST)
    began = time.process_time()
    best_order(read_paths(file), MOST)
    return time.process_time() - began, peak()


def their_order(file: Path) -> tuple[float, float]:
    """Let ChannelAttribution choose the order."""
    import ChannelAttribution
    import pandas as pd

    began = time.process_time()
    ChannelAttribution.choose_order(pd.read_parquet(file), "path", "conversions", "nulls", max_order=MOST, plot=False,
                                    flg_pro=False)  # fmt: skip
    return time.process_time() - began, peak()


def small(file: Path) -> Path:
    """Write the first of its journeys beside a file."""
    beside = file.with_name("small.parquet")
    pq.write_table(pa.table(next(pq.ParquetFile(file).iter_batches(1_000))), beside)
    return beside


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


ONES = {one.__name__: one for one in (ours, rival, our_order, their_order, group_by)}


if __name__ == "__main__":
    main()
