"""The daemon with models of every element type."""

import pytest
from identity import write_models
from serving import OUTPUT, serving


@pytest.fixture(scope="session")
def echo():
    """A daemon whose models answer what they are given."""
    folder = OUTPUT / "identity"
    write_models(folder)
    with serving(folder, "identity") as running:
        yield running
        running.stop()
