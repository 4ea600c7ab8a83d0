"""The blind listening test: what a folder holds, the page in a browser, and scores."""

import base64
import io
import json
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from train import blind_test

RATE = 16000


@pytest.fixture
def folder(tmp_path):
    """A test with two recordings and one version."""
    rng = np.random.default_rng(1)
    for name in ("truth", "coded"):
        (tmp_path / name).mkdir()
        for song in ("a.wav", "b.wav"):
            soundfile.write(tmp_path / name / song, rng.standard_normal(RATE) * (0.1 if name == "truth" else 0.02), RATE)
    blind_test.build(tmp_path / "truth", {"coded": tmp_path / "coded"}, tmp_path / "test", 1.0)
    return tmp_path / "test"


def test_a_page_has_the_versions_equally_loud_and_no_names(folder):
    key = json.loads((folder / "key.json").read_text())
    assert len(key["items"]) == 2
    for item, about in key["items"].items():
        text = (folder / f"{item}.js").read_text()
        assert "coded" not in text and "anchor" not in text and ".wav" not in text
        sounds = json.loads(text.removeprefix("window.ITEM = ").removesuffix(";\n"))["sounds"]
        assert set(sounds) == set(about["sounds"])
        assert sorted(about["sounds"].values()) == ["anchor 3.5 kHz", "anchor 7 kHz", "coded", "hidden reference"]
        levels = []
        for coded in sounds.values():
            x, _ = soundfile.read(io.BytesIO(base64.b64decode(coded)))
            levels.append(np.sqrt(np.mean(x**2)))
        assert max(levels) / min(levels) < 1.01


def test_a_folder_that_holds_something_is_left_alone(folder):
    with pytest.raises(SystemExit):
        blind_test.build(folder, {"coded": folder}, folder, 1.0)


def listener(scores):
    return [{blind_test.REFERENCE: reference, "good": good, "bad": bad} for reference, good, bad in scores]


def test_medians_have_intervals_and_listeners_who_miss_the_reference_are_left_out():
    careful = [listener([(100, 80 + i, 30 + i), (95, 82, 35)]) for i in range(6)]
    careless = listener([(40, 100, 90), (100, 80, 20)])
    assert all(map(blind_test.reliable, careful)) and not blind_test.reliable(careless)
    table = blind_test.score(careful, draws=200)
    assert table["good"][1] <= table["good"][0] <= table["good"][2] and table["bad"][2] < table["good"][1]


@pytest.mark.needs("chromium")
def test_a_listener_can_play_rate_and_save_in_a_browser_without_a_network(folder):
    # A script takes the listener's place. What it finds ends up in the document, which the browser prints.
    page = folder / "index.html"
    page.write_text(page.read_text().replace("</html>", """<script>
window.onerror = message => document.body.dataset.error = message;
window.onunhandledrejection = e => document.body.dataset.error = e.reason;
(async () => {
  const wait = async what => { for (let i = 0; i < 20000 && !what(); i++) await new Promise(r => setTimeout(r, 25)); };
  $("begin").click();
  for (let n = 0; n < ITEMS.length; n++) {
    await wait(() => state.at === n && state.sounds.length > 0 && $("title").textContent.startsWith(`${n + 1} of`));
    if (!$("next").disabled) throw new Error("next before a rating");
    $("play").click();
    state.sounds.forEach((s, i) => { s.button.click(); s.slider.value = i ? 40 : 100; s.slider.dispatchEvent(new Event("input")); });
    if (state.playing.gains.length !== state.sounds.length + 1) throw new Error("not all sounds play");
    $("next").click();
  }
  await wait(() => !$("end").hidden);
  document.body.dataset.done = $("results").textContent;
})();
</script></html>"""))
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    out = subprocess.run([chromium, "--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required", "--virtual-time-budget=1000000",
                          f"--user-data-dir={folder}/browser", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120)
    assert "data-error" not in out.stdout, out.stdout[-2000:]
    results = out.stdout.split('<pre id="results">')[1].split("</pre>")[0]
    key = json.loads((folder / "key.json").read_text())
    pages = blind_test.ratings(key, json.loads(results))
    assert len(pages) == 2 and all(sorted(p.values()) == [40.0] * (len(p) - 1) + [100.0] for p in pages)
