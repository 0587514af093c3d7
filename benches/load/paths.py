"""Where things are. Everything that the bench makes lies in target/bench, and can be deleted."""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
TARGET = REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target")
WORK = TARGET / "bench"
MODELS = WORK / "models"
VENVS = WORK / "venvs"
LOGS = WORK / "logs"
CONTESTANTS = WORK / "contestants" / "release"
RESULTS = WORK / "results.json"
