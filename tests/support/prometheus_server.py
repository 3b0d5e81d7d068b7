"""A real Prometheus server for the tests that ask one."""

from __future__ import annotations

import contextlib
import subprocess

import yaml

from tests.support.ports import free_port


@contextlib.contextmanager
def running(folder, config):
    """The address of a server with `config`, whose data and log are in `folder`."""
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    port = free_port()
    with (
        (folder / "log").open("w", encoding="utf-8") as log,
        subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
