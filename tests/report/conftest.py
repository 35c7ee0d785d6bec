"""A fitted estimator and a browser for the tests of reports."""

import pytest
from pages import CHROMIUM, OPTIONS, fitted_with_dead_atoms


@pytest.fixture(scope="module")
def sae():
    return fitted_with_dead_atoms()


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()
