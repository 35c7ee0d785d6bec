# The README's commands. They need Python and make; all else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint tests tests-1 tests-2 tests-3 test-all test-portable test-versions benchmark docs dist check-release clean

# A stamp says that an environment is complete, so that a second call installs nothing. The version
# stands in __init__.py.
.venv/installed: setup.py pyproject.toml skl_sae/__init__.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

# All that `make test` needs, by one call of pip.
.venv/installed-docs: setup.py pyproject.toml skl_sae/__init__.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,docs]'
	touch .venv/installed .venv/installed-test $@

# What only slow tests need.
.venv/installed-cluster: .venv/installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dask,ray]'
	touch $@

.venv/installed-release: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[release]'
	touch $@

demo: .venv/installed
	$(BIN)/python -m skl_sae

# OpenMP's threads, which fits do not use but some tests do, wait busily for one another. Where
# processes share cores, they wait for threads that cannot run meanwhile: three processes took ten
# times as long.
test tests tests-1 tests-2 tests-3 test-all test-portable docs: export OMP_WAIT_POLICY := passive

# Most tests use one core or wait, and so do most examples of the site: five jobs keep two cores
# busy to the end. The site is the longest, so tests give way to it.
test: .venv/installed-docs
	$(MAKE) --jobs 5 lint docs tests-1 tests-2 tests-3 GIVE_WAY=nice

lint: .venv/installed-docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

# The tests in three parts, which take about as long.
FIRST := tests/engine tests/report
SECOND := tests/training tests/autoencoders

tests: tests-1 tests-2 tests-3

tests-1: .venv/installed-docs
	$(GIVE_WAY) $(BIN)/python -m pytest $(FIRST)
	$(BIN)/python tests/check_wheel.py

tests-2: .venv/installed-docs
	$(GIVE_WAY) $(BIN)/python -m pytest $(SECOND)

tests-3: .venv/installed-docs
	$(GIVE_WAY) $(BIN)/python -m pytest $(patsubst %,--ignore=%,$(FIRST) $(SECOND))

test-all: test .venv/installed-cluster
	$(BIN)/python -m pytest -m slow

# The tests as on other processors and with other numbers of threads; SETTINGS=another is one of them.
test-portable: .venv/installed-test
	$(BIN)/python tests/run_portable.py $(SETTINGS)

# The wheel in empty environments, with the oldest and newest libraries; SETS=oldest is one of them.
test-versions: dist
	$(BIN)/python tests/run_versions.py dist $(SETS)

benchmark: .venv/installed-test
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/images.py
	$(BIN)/python benchmarks/storage.py

# The site, its examples run; read it from docs/_build/html/index.html.
docs: .venv/installed-docs
	PYTHONWARNINGS=error::UserWarning,error::FutureWarning \
	$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html
	$(BIN)/python tests/check_docs.py docs/_build/html
	$(BIN)/python tests/check_accessibility.py docs/_build/html

# What is released: a source distribution, and a wheel built from it; and the page of an index.
dist: .venv/installed-release
	rm -rf dist build
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*

# The version is the same everywhere: in the package, the tag if there is one, changes and citation.
check-release: .venv/installed-test
	$(BIN)/python -m pytest tests/test_release.py

clean:
	rm -rf .venv build dist *.egg-info docs/_build docs/auto_examples docs/generated
