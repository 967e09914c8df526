"""The report in a real headless Chromium: figures with a size, no console errors, no request but the page itself."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000",
)  # fmt: skip
# Only in the test's copy: the page itself carries no script. Failed files leave no entry in the browser's list of
# resources, so errors are caught on their way down, before the elements that cause them are parsed.
PROBE = """<script>
const failed = [];
addEventListener("error", e => failed.push(e.target.src || e.target.href || e.message), true);
addEventListener("load", () => {
  const box = e => { const r = e.getBoundingClientRect(); return [r.width, r.height] };
  const figures = [...document.querySelectorAll("figure")].map(f => [f.id, box(f.querySelector("svg"))]);
  const loaded = performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:"));
  const wide = document.documentElement.scrollWidth > innerWidth;
  const text = getComputedStyle(document.querySelector("figure svg")).color;
  const facts = {figures: Object.fromEntries(figures), requests: [...loaded, ...failed], wide, text};
  document.documentElement.dataset.probe = JSON.stringify(facts);
})</script></head>"""


def probe(folder: Path, html: str, *flags: str) -> tuple[dict[str, Any], list[str]]:
    """What the probe found on the page, and the console's lines."""
    page = folder / "probe.html"
    page.write_text(html.replace("</head>", PROBE, 1), encoding="utf-8")
    command = [str(BROWSER), *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'data-probe="([^"]+)"', done.stdout)
    assert found, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(found.group(1).replace("&quot;", '"').replace("&amp;", "&")), console


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    if BROWSER is None:
        pytest.skip("no chromium or google-chrome on this machine; 'apt-get install chromium' to check the page")
    spec = importlib.util.spec_from_file_location("report_inputs", Path(__file__).with_name("test_report.py"))
    assert spec is not None and spec.loader is not None
    inputs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(inputs)
    text: str = inputs.whole_page(tmp_path_factory.mktemp("report"))
    return text


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (500, "light"), (1200, "dark")])
def test_the_page_in_a_browser(tmp_path: Path, html: str, width: int, scheme: str) -> None:
    dark = ("--blink-settings=preferredColorScheme=0",) if scheme == "dark" else ()
    found, console = probe(tmp_path, html, f"--window-size={width},900", *dark)
    figures = found["figures"]
    assert set(figures) == {"tradeoff-0", "latencies-0", "delegates-0", "timeline-0", "predictions-0"}
    assert all(w > 300 and h > 200 for w, h in figures.values()), figures
    assert found["requests"] == []
    assert not found["wide"], "the page scrolls sideways"
    red = int(re.findall(r"\d+", str(found["text"]))[0])
    assert red > 128 if scheme == "dark" else red < 128
    assert console == []


def test_the_probe_sees_console_errors_and_requests(tmp_path: Path, html: str) -> None:
    broken = html.replace("<main>", '<main><img src="missing.png"><script>console.error("broken")</script>')
    found, console = probe(tmp_path, broken)
    assert any("broken" in line for line in console)
    assert any(str(name).endswith("missing.png") for name in found["requests"])
