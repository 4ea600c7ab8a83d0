//! Checks the takes of a session, and removes them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::Place;

/// Samples of a beat: 120 BPM at 32 kHz.
const BEAT: i64 = 16_000;
/// Samples of a click.
const CLICK: i64 = 1280;

fn wav(path: &Path) -> (usize, Vec<f32>) {
    let mut wav = hound::WavReader::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let channels = usize::from(wav.spec().channels);
    (channels, wav.samples::<f32>().map(|x| x.unwrap_or_else(|e| panic!("{}: {e}", path.display()))).collect())
}

/// Every take can be read and its clicks are on their samples. One that begins with its session is replayed, which gives the same.
pub fn check(place: &Place) {
    let takes = place.takes();
    let mut all: Vec<_> = std::fs::read_dir(&takes).expect("takes").map(|entry| entry.unwrap().path()).collect();
    all.sort();
    assert!(!all.is_empty(), "no take");
    for take in &all {
        let info: serde_json::Value = serde_json::from_slice(&std::fs::read(take.join("take.json")).unwrap()).unwrap();
        let from = info["from"].as_i64().unwrap();
        let (_, click) = wav(&take.join("click.wav"));
        let lengths: Vec<usize> = ["input", "bass", "drums", "other", "click", "mix"]
            .iter()
            .map(|name| {
                let (channels, samples) = wav(&take.join(format!("{name}.wav")));
                assert!(samples.iter().all(|x| x.is_finite()), "{}", take.display());
                samples.len() / channels
            })
            .collect();
        // A program that was killed brings its headers up to date one after another, twice a second.
        let killed = info["samples"] == 0;
        let (shortest, longest) = (*lengths.iter().min().unwrap(), *lengths.iter().max().unwrap());
        assert!(shortest == longest || killed && longest - shortest <= 32_000, "{}: {lengths:?}", take.display());
        let clicks = check_clicks(&click, from);
        let ended = info["ended"].as_str().map(|e| format!(", ended by: {e}")).unwrap_or_default();
        eprintln!("  take from {:.1} s, {:.1} s, {clicks} clicks{ended}", from as f64 / 32e3, shortest as f64 / 32e3);
        if from == 0 {
            replay(place, take, shortest);
        }
    }
    std::fs::remove_dir_all(&takes).unwrap();
}

/// Checks that each click begins on the sample of a beat. Returns their number.
fn check_clicks(click: &[f32], from: i64) -> usize {
    let (mut n, mut last) = (0, i64::MIN / 2);
    for (at, _) in (from..).zip(click).filter(|(_, x)| x.abs() > 0.05) {
        if at - last > BEAT / 2 {
            let off = at.rem_euclid(BEAT);
            // A take may begin in a click.
            assert!(off == 0 || at - from < CLICK && off < CLICK, "a click at sample {at} is {off} samples off");
            n += 1;
            last = at;
        }
    }
    n
}

fn replay(place: &Place, take: &Path, samples: usize) {
    let began = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sideman"));
    command.arg("replay").arg(take).arg("--force").arg("--out").arg(&place.replay);
    command.current_dir(&place.cwd).env("HOME", &place.home).env("TMPDIR", &place.tmp).env("NO_COLOR", "1");
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}: {}", take.display(), String::from_utf8_lossy(&output.stderr));
    for name in ["bass", "drums", "other", "click", "mix"] {
        let (channels, live) = wav(&take.join(format!("{name}.wav")));
        let (_, again) = wav(&place.replay.join(format!("{name}.wav")));
        let n = channels * samples.min(again.len() / channels);
        assert!(n > channels * samples.saturating_sub(32_000), "{name}: the replay has {n} of {samples} samples");
        let differs = live[..n].iter().zip(&again[..n]).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{}: {name}.wav and its replay differ from this sample on, of {n}", take.display());
    }
    std::fs::remove_dir_all(&place.replay).unwrap();
    eprintln!("    replayed in {:.1} s: the same samples", began.elapsed().as_secs_f32());
}
