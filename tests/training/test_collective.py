"""Fits that two processes share, beside those of one."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import ranks

from skl_sae import ConvTopKSparseAutoencoder, TopKSparseAutoencoder
from skl_sae._engine._parts import Parts
from skl_sae._engine._spread import is_worth_spreading

SCRIPT = Path(ranks.__file__)
# Seconds in which a rank ends, after another was lost.
LOST = 30


def environment():
    others = {"MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE"}
    kept = {name: value for name, value in os.environ.items() if name not in others}
    return kept | {"OMP_NUM_THREADS": "1"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(task, folder):
    """Two processes that begin a task."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    return [
        subprocess.Popen(
            [sys.executable, SCRIPT, task, folder],
            env=environment() | address | {"RANK": str(rank)}, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip


def results(folder, name):
    """Arrays that each rank has kept."""
    return [dict(np.load(folder / f"{name}-{rank}.npz")) for rank in range(2)]


def assert_same(one, other):
    assert set(one) == set(other)
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The folder of all fits that two processes have made together, launched as users do."""
    folder = tmp_path_factory.mktemp("fits")
    for name, settings in ranks.RESUMED.items():
        ranks.interrupt(settings | ranks.resumable(folder / f"{name}, one"))
    launch = "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"
    command = [sys.executable, *launch, str(free_port()), SCRIPT, "fits", folder]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def of_ranks(folder, name):
    """Arrays that both ranks have kept, which are the same."""
    one, other = results(folder, name)
    assert_same(one, other)
    return one


# --- Against one process ---


@pytest.mark.parametrize("name", ranks.STEPS)
def test_steps_are_those_of_one_process(shared, name):
    """With AuxK and consistency; of members to the bit."""
    got, wanted = of_ranks(shared, f"step, {name}"), ranks.step(name)
    assert set(got) == set(wanted)
    if "members" in name:
        assert_same(got, wanted)
    for array, value in wanted.items():  # sums of float32 in another order
        np.testing.assert_allclose(got[array], value, atol=1e-5 * abs(value).max(), err_msg=array)


@pytest.mark.parametrize("name", [*ranks.MEMBERS, "conv"])
def test_members_have_the_bits_of_one_process(shared, name):
    """With as many or more members than ranks; and where each rank does the whole work."""
    got = of_ranks(shared, name)
    if name == "conv":
        sae = ConvTopKSparseAutoencoder(
            16, image_shape=(12, 12), kernel_size=4, k=8, max_iter=2, random_state=0, device="cpu"
        ).fit(ranks.photographs())
        wanted = {"components_": sae.components_, "centers_": sae.centers_}
    else:
        wanted = ranks.fitted(ranks.MEMBERS[name])
    assert_same(got, wanted)


@pytest.mark.parametrize("name", [*ranks.ATOMS, *ranks.WEIGHTED])
def test_shared_atoms_learn_as_in_one_process(shared, name):
    """To 1e-3 after training, which amplifies the order of sums."""
    got = of_ranks(shared, name)
    if name in ranks.WEIGHTED:
        wanted = ranks.fitted(ranks.WEIGHTED[name], ranks.weights())
    else:
        wanted = ranks.fitted(ranks.ATOMS[name])
    assert set(got) == set(wanted)
    assert got["score"] == pytest.approx(wanted["score"], abs=1e-3)
    np.testing.assert_allclose(got["loss_curve_"], wanted["loss_curve_"], rtol=1e-3)
    if "dead" in name:
        assert (wanted["atom_frequency_"] == 0).any()


@pytest.mark.parametrize("name", ranks.DEFAULTS)
def test_default_start_scores_as_in_one_process(shared, name):
    got, wanted = of_ranks(shared, name), ranks.fitted(ranks.DEFAULTS[name])
    assert got["score"] == pytest.approx(wanted["score"], abs=1e-3)


def test_ranks_without_a_seed_have_the_same(shared):
    of_ranks(shared, "any seed")


def test_the_same_ranks_give_the_same_bits(shared):
    assert_same(of_ranks(shared, "untied"), of_ranks(shared, "untied, again"))


@pytest.mark.parametrize("name", ["untied", "consistency"])
def test_shared_memory_gives_the_bits_of_connections(shared, name):
    """Two ranks' sums are the same in either order."""
    assert_same(of_ranks(shared, name), of_ranks(shared, f"{name}, by connections"))


@pytest.mark.parametrize("name", ["members", "untied"])
def test_rows_may_be_read_when_they_are_asked_for(shared, name):
    got, wanted = of_ranks(shared, f"{name}, file"), ranks.fitted_to_file(ranks.RESUMED[name])
    if name == "members":
        assert_same(got, wanted)
    assert got["score"] == pytest.approx(wanted["score"], abs=1e-3)


def test_small_models_are_not_spread():
    """Nor those with fewer atoms and members than ranks."""
    assert is_worth_spreading((1, 3072, 12288), 2) and is_worth_spreading((3, 3072, 12288), 4)
    assert not is_worth_spreading((1, 256, 64), 2)
    assert not is_worth_spreading((1, 2, 10**8), 4)
    assert not is_worth_spreading((1, 3072, 12288), 1)


def test_partial_fit_is_shared(shared):
    sae = TopKSparseAutoencoder(**ranks.GIVEN)
    for rows in np.split(ranks.photographs(), 2):
        sae.partial_fit(rows)
    got = of_ranks(shared, "partial_fit")
    assert got["score"] == pytest.approx(sae.score(ranks.photographs()), abs=1e-3)


def test_ensembles_are_shared_member_by_member(shared):
    of_ranks(shared, "ensembles, any seed")
    got, expected = of_ranks(shared, "ensembles"), ranks.ensembles(0)
    for name, score in expected.items():
        assert got[name] == pytest.approx(score, abs=1e-3)


# --- Checkpoints, and what goes wrong ---


@pytest.mark.parametrize("name", ranks.RESUMED)
def test_checkpoints_suit_any_number_of_ranks(shared, name):
    settings = ranks.RESUMED[name]
    wanted = ranks.fitted(settings | {"max_iter": 6})
    two_to_one = ranks.fitted(settings | ranks.resumable(shared / f"{name}, two"))
    for got in (of_ranks(shared, f"resumed {name}"), two_to_one):
        if "members" in name:
            assert_same(got, wanted)
        assert got["score"] == pytest.approx(wanted["score"], abs=1e-3)
        assert len(got["loss_curve_"]) == 6


def test_a_rank_that_fails_ends_the_fit_of_all(shared):
    told = results(shared, "troubles")
    for rank in told:
        assert "Expected the same rows (checksum) on all ranks" in str(rank["other rows"])
        assert "the same k on all ranks, got 8 on rank 0 and 9 on" in str(rank["other parameters"])
    assert str(told[1]["one refuses"]).startswith("ValueError: Input X contains NaN")
    assert "LostRankError: Rank 1 of 2 has failed: ValueError: Input" in str(told[0]["one refuses"])
    assert "failed: KeyboardInterrupt" in str(told[0]["one is interrupted"])
    for rank in results(shared, "seconds"):
        assert max(rank.values()) < LOST
    of_ranks(shared, "after troubles")


def test_a_killed_rank_ends_the_other_and_one_process_goes_on(tmp_path):
    checkpoint, processes = tmp_path / "long.ckpt", start("long", tmp_path)
    until = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < until:
        time.sleep(0.1)
    processes[1].send_signal(signal.SIGKILL)
    begun = time.monotonic()
    _, errors = processes[0].communicate(timeout=60)
    processes[1].communicate()
    assert time.monotonic() - begun < LOST
    assert processes[0].returncode != 0
    assert "LostRankError: Rank 1 of 2 has ended, or cannot be reached" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["long.ckpt"]
    epochs = []

    def stop(self, progress):
        epochs.append(progress.n_epochs)
        raise KeyboardInterrupt

    settings = ranks.GIVEN | {"max_iter": 100000, "tied": False, "warm_start": True}
    sae = TopKSparseAutoencoder(**settings, checkpoint=checkpoint)
    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(TopKSparseAutoencoder, "_print_epoch", stop)
        sae.fit(ranks.photographs())
    assert epochs[0] > 1


# --- Parts ---


@pytest.mark.parametrize("shape", [(1, 7, 3), (2, 5, 3), (5, 4, 3)])
@pytest.mark.parametrize("fused", [True, False])
def test_parts_make_the_whole(shape, fused):
    rng, size = np.random.default_rng(0), 2
    atoms = (shape[0] * shape[1], shape[2]) if fused else shape
    arrays = {
        "decoder": rng.random(shape), "encoder.first": rng.random(atoms),
        "decoder.picked_at": rng.random(shape[0] * shape[1]), "centers": rng.random(shape[::2]),
        "bias": rng.random(shape[:2]),
        "bias.second": rng.random(shape[:2]), "bias.n_steps": np.zeros(()), "rates": rng.random(9),
    }  # fmt: skip
    parts = [Parts(shape, size, rank) for rank in range(size)]
    for name, array in arrays.items():
        cut = [part.cut(name, array) for part in parts]

        def collect(part, shapes, of_all=cut):
            if len(shapes[1]) == 1 and shapes[1][0] == 0:
                return of_all
            return [a.reshape(s) for a, s in zip(of_all, shapes, strict=True)]

        for part, own in zip(parts, cut, strict=True):
            np.testing.assert_array_equal(part.join(name, own, collect), array)
