"""A real Prometheus server for tests."""

from __future__ import annotations

import contextlib
import subprocess

import yaml

from tests.support.ports import free_port


@contextlib.contextmanager
def running(folder, config):
    """Run a server with `config`, its data and log in `folder`; yield its address."""
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
