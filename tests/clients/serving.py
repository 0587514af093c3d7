"""How the clients get a daemon to talk to."""

import os
from pathlib import Path

from daemon import Daemon

MODELS = Path(__file__).parents[2] / "models"
OUTPUT = Path(os.environ["CLIENTS_OUTPUT"])


def serving(models, name, *options):
    """A daemon that serves `models`, as a context manager; its log is named after `name`."""
    return Daemon(os.environ["ONNXD"], models, OUTPUT / "{}.log".format(name), *options)
