"""A fitted estimator and a browser for the tests of reports."""

import numpy as np
import pytest
from pages import CHROMIUM, OPTIONS, fitted


@pytest.fixture(scope="module")
def sae():
    sae = fitted()
    # Of 48 atoms some shall be dead: these fire on no row.
    sae.encoder_bias_ = np.where(np.arange(48) % 16 == 3, np.float32(-1e6), sae.encoder_bias_)
    return sae


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()
