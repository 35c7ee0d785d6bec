"""The run as on other processors: what it calls a success."""

import pytest
import run_portable

OWN = {
    "ATEN_CPU_CAPABILITY": "AVX512",
    "NUMBA_CPU_NAME": "rocketlake",
    "OPENBLAS_CORETYPE": "SkylakeX",
    "ONEDNN_MAX_CPU_ISA": "does not tell",
    "MKL_ENABLE_INSTRUCTIONS": "does not tell",
    "OMP_NUM_THREADS": "2",
}


@pytest.fixture
def status(monkeypatch, capsys):
    """Exit status and table of a run of settings, of which some fail and some are not obeyed."""

    def run(*settings, failing=(), ignored=()):
        def asked(setting):
            pairs = [pair.split("=") for pair in setting.split(",") if pair]
            return OWN | {name: value for name, value in pairs if name not in ignored}

        def suite(setting):
            failed = ["module::test"] if setting in failing else []
            return {"passed": ["a", "b"], "failed": failed, "skipped": []}, 1.0, "all of it"

        monkeypatch.setattr(run_portable, "asked", asked)
        monkeypatch.setattr(run_portable, "suite", suite)
        monkeypatch.setattr("sys.argv", ["run_portable.py", *settings])
        return run_portable.main(), capsys.readouterr().out

    return run


def test_all_settings_are_run_without_any_named(status):
    code, out = status()
    assert code == 0
    assert all(f"| {setting} | " in out for setting in run_portable.SETTINGS)
    assert out.count("| 2 | 0 | 0 | 1 |") == len(run_portable.SETTINGS)


def test_a_failure_is_named_and_ends_in_status_1(status):
    settings = "OMP_NUM_THREADS=1", "OMP_NUM_THREADS=4"
    code, out = status(*settings, failing=settings[:1])
    assert code == 1
    assert "| OMP_NUM_THREADS=1 | 2 | 2 | 1 | 0 | 1 |\nall of it\nOMP_NUM_THREADS=1: module" in out
    assert "| OMP_NUM_THREADS=4 | 2 | 2 | 0 | 0 | 1 |" in out


def test_what_a_library_does_not_obey_is_no_success(status):
    code, out = status("NUMBA_CPU_NAME=generic", ignored=["NUMBA_CPU_NAME"])
    assert code == 1
    assert "not run: NUMBA_CPU_NAME is rocketlake" in out
    code, out = status("NUMBA_CPU_NAME=generic", "OMP_NUM_THREADS=1", ignored=["NUMBA_CPU_NAME"])
    assert code == 0 and "not run" in out


def test_another_is_what_differs_from_this_machine(status):
    ignored = ["OPENBLAS_CORETYPE", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS"]
    code, out = status("another", ignored=ignored)
    assert code == 0
    assert "| ATEN_CPU_CAPABILITY=avx2 NUMBA_CPU_NAME=generic | AVX512, rocketlake |" in out


@pytest.mark.parametrize("setting", ["OMP_NUM_THREADS", "OMP_NUM_THREADS=", "=4", "other"])
def test_no_setting(status, setting, capsys):
    with pytest.raises(SystemExit):
        status(setting)
    assert "Expected VARIABLE=VALUE" in capsys.readouterr().err
