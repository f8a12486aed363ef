"""A short run of the coverage-guided fuzzer; the long one is ``python -m tests.mptcp.fuzz``."""

import pytest

from tests.mptcp import fuzz


@pytest.mark.slow
@pytest.mark.skipif(not fuzz.is_available(), reason="atheris is not installed")
def test_decoders_keep_their_promises(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--inputs", "3000"]) == 0, capsys.readouterr().out
    assert "total: 3" in capsys.readouterr().out
