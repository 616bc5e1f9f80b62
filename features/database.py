"""The database: DuckDB in this process, which reads nothing but what it is shown, and spills where it is told."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

import duckdb

from features.contract import literal

MEMORY_LIMIT = "1GB"  # of a query; what does not fit is spilled


def opened(folder: Path, files: Iterable[Path], spill: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection that can read ``files`` and what is below a folder, and spills into another."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    folders = ", ".join(literal(f"{one}/") for one in (folder, spill))
    paths = ", ".join(literal(path) for file in map(str, files) for path in (file, glob.escape(file)))
    connection.execute(f"""
        SET TimeZone = 'UTC';
        SET memory_limit = '{MEMORY_LIMIT}';
        SET temp_directory = {literal(str(spill))};
        SET allowed_directories = [{folders}];
        SET allowed_paths = [{paths}];
        SET enable_external_access = false;
        SET lock_configuration = true;
    """)
    return connection
