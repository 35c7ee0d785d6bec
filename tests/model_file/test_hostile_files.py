"""Models and checkpoints from anyone, signed: refused, or harmless."""

import collections

import pytest
from hostile_files import CONV_KINDS, KINDS, VALUES, File, apply, open_all, write_bases
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st


def changes_of(kinds):
    """One to three changes, as `apply` takes them."""
    change = st.tuples(
        st.sampled_from(kinds), st.integers(0, 10**4), st.integers(0, 10**4),
        st.integers(0, len(VALUES) - 1),
    )  # fmt: skip
    return st.lists(change, min_size=1, max_size=3)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return folder, write_bases(folder)


def draw_files(bases, folder, n_files, of_places):
    """Files with one to three hostile changes each, and what these are, by name."""
    drawn = {}
    names = [name for name in bases[1] if name.startswith("conv") == of_places]

    @seed(0)
    @settings(
        max_examples=n_files, phases=[Phase.generate], database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.sampled_from(names), changes_of(CONV_KINDS if of_places else KINDS))
    def draw(base, changes):
        file = File(bases[0] / base)
        for change in changes:
            apply(file, *change)
        name = f"{base}.{len(drawn):05}"
        file.write(folder / name)
        drawn[name] = changes

    draw()
    return drawn


@pytest.mark.parametrize("of_places", [False, True])
@pytest.mark.parametrize("n_files", [50, pytest.param(2000, marks=pytest.mark.slow)])
def test_fault_107_to_112_hostile_files(bases, tmp_path, n_files, of_places):
    """Each is refused, or works, or fails as documented; in time, and nothing else is written."""
    folder = tmp_path / "files"
    folder.mkdir()
    drawn = draw_files(bases, folder, n_files, of_places)
    ended = open_all(folder, list(drawn), tmp_path / "scratch")
    print(len(ended), "files:", dict(collections.Counter(o.split(":")[0] for o in ended.values())))
    faults = {
        name: (drawn[name], outcome)
        for name, outcome in ended.items()
        if outcome not in ("refused", "used", "error later")
    }
    assert len(ended) == n_files
    assert not faults, "\n\n".join(f"{name} {c}\n{o}" for name, (c, o) in faults.items())


def test_what_is_not_changed_works(bases, tmp_path):
    """The process that opens the files finds nothing wrong with good ones."""
    ended = open_all(bases[0], bases[1], tmp_path / "scratch")
    assert set(ended.values()) == {"used"}, ended
