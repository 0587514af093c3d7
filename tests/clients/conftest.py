"""What all groups of clients share: the daemon, started once for each of them."""

import pytest
from serving import MODELS, serving


@pytest.fixture(scope="session")
def daemon():
    """A daemon that serves the bundled models, `iris` by default."""
    with serving(MODELS, "bundled", "--default-model", "iris") as running:
        yield running
        running.stop()
