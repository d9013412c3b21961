"""prometheus_client takes the folder of a program's processes from the environment alone."""

import os
import shutil
from pathlib import Path


def name_metrics_folder(folder: Path) -> None:
    """Empty it, since what an earlier life left there would count twice, and name it.

    To be called before prometheus_client is imported. Children of a fork have it from their parent.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
