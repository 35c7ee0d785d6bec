"""Estimators for reports, and what is on a report's page."""

import base64
import io
import json
import re
import shutil
from contextlib import contextmanager
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from skl_sae import TopKSparseAutoencoder

DIGITS = load_digits()
X, Y = DIGITS.data[:120], DIGITS.target[:120]
HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    '"><svg onload="window.hacked = 1">',
    "../../etc/x", "#?%00.png", "{{data}}", "<!--", "a\u2028b\u202ec", "\udcff.png", "&lt;b&gt;",
]  # fmt: skip

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
DRAWN = "root => [...root.querySelectorAll('canvas')].every(c => c.dataset.drawn)"
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


def fitted(**parameters):
    parameters = {"n_components": 24, "k": 4, "n_estimators": 2, "max_iter": 2} | parameters
    return TopKSparseAutoencoder(random_state=0, device="cpu", **parameters).fit(X)


def fitted_with_dead_atoms(**parameters):
    """Every 16th atom fires on no row, from the fourth on."""
    sae = fitted(**parameters)
    is_dead = np.arange(len(sae.encoder_bias_)) % 16 == 3
    sae.encoder_bias_ = np.where(is_dead, np.float32(-1e6), sae.encoder_bias_)
    return sae


class Parser(HTMLParser):
    """Tags with their attributes, and the texts of scripts by their id."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], {}
        self._script = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        self._script = dict(attrs).get("id", tag) if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._script = None

    def handle_data(self, data):
        if self._script:
            self.texts[self._script] = self.texts.get(self._script, "") + data


def page_data(page):
    """Data that the page's script reads, its arrays decoded."""

    def decoded(value):
        if isinstance(value, dict) and len(value) == 1:
            ((dtype, content),) = value.items()
            if re.fullmatch("[fiu][24]", dtype):
                return np.frombuffer(base64.b64decode(content), f"<{dtype}")
        return {k: decoded(v) for k, v in value.items()} if isinstance(value, dict) else value

    return decoded(json.loads(Parser(page).texts["data"]))


def tiles(page, kind, n, shape):
    """The first n thumbnails of one kind, from the page's sheets."""
    texts = Parser(page).texts
    height, width, _ = shape
    result = []
    for i in range(n):
        content = base64.b64decode(texts[f"{kind}-{i // 256}"])
        sheet = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        row, column = divmod(i % 256, 16)
        result.append(sheet[row * height :, column * width :][:height, :width])
    return np.array(result)


@contextmanager
def opened(browser, path):
    """Open a report from disk; fails if the page complains or asks for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page = context.new_page()
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    wait_until(page, f"({DRAWN})(document)")
    yield page
    asked = [url for url in requests if not url.startswith("data:")]
    hacked = page.evaluate("window.hacked")
    context.close()
    assert complaints == []
    assert asked == [path.as_uri()]
    assert hacked is None


def bytes_of(page, selector):
    """The first channel of a canvas."""
    canvas = page.locator(selector)
    script = """canvas => Array.from(canvas.getContext("2d").getImageData(
        0, 0, canvas.width, canvas.height).data).filter((_, i) => i % 4 === 0)"""
    return np.array(canvas.evaluate(script))


def wait_until(page, expression):
    """Wait for an expression to be true, by asking: the page's policy forbids it to poll itself."""
    for _ in range(400):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"Not true within 10 s: {expression}")
