"""Where the recorded exchanges lie; tests over them skip visibly where the folder is absent."""

from pathlib import Path

import pytest

FIXTURES = Path(__file__).resolve().parents[2] / "shared" / "fixtures"

needs_fixtures = pytest.mark.skipif(not FIXTURES.is_dir(), reason="the recorded exchanges are not here")
