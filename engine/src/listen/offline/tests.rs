use std::f64::consts::TAU;
use std::path::Path;

use super::*;
use crate::audio;
use crate::model::SAMPLE_RATE;
use crate::task::Meter;

/// A recorded bass line of the repository.
fn example(name: &str) -> Vec<f32> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    audio::read(&path).unwrap_or_else(|e| panic!("{e}")).samples
}

fn hear(samples: &[f32]) -> Option<Heard> {
    listen(&[Recording { voice: Voice::Single, samples }], &Known::default(), &[])
}

/// A rock bass in eighths over Em C G D, one bar each, with its beats at these times.
fn line(beats: &[f64]) -> Vec<f32> {
    line_with(beats, |_| 0.0)
}

/// The same with each beat transposed by so many semitones.
fn line_with(beats: &[f64], transposed: impl Fn(usize) -> f64) -> Vec<f32> {
    let seconds = beats[beats.len() - 1] + 0.5;
    let mut out = vec![0.0f32; (seconds * SAMPLE_RATE as f64) as usize];
    for (k, pair) in beats.windows(2).enumerate() {
        let root = [28.0, 36.0, 31.0, 38.0][k / 4 % 4] + transposed(k);
        let half = 0.5 * (pair[1] - pair[0]);
        for (time, gain) in [(pair[0], if k % 4 == 0 { 0.5 } else { 0.35 }), (pair[0] + half, 0.25)] {
            let (from, frequency) = ((time * SAMPLE_RATE as f64) as usize, 440.0 * 2f64.powf((root - 69.0) / 12.0));
            let length = (0.9 * half * SAMPLE_RATE as f64) as usize;
            for n in 0..length {
                let t = n as f64 / SAMPLE_RATE as f64;
                // Without a fade the end of a note would be an onset.
                let gain = gain * ((length - n) as f64 / 1600.0).min(1.0);
                let tone: f64 =
                    (1..=8).map(|h| (TAU * frequency * f64::from(h) * t).sin() / f64::from(h) * (-4.0 * t).exp()).sum();
                if let Some(sample) = out.get_mut(from + n) {
                    *sample += (gain * tone) as f32;
                }
            }
        }
    }
    out
}

/// Most that a labelled beat is away from the nearest heard one, in seconds.
fn farthest(heard: &Heard, beats: &[f64]) -> f64 {
    let nearest = |time: f64| heard.beats.iter().map(|b| (b - time).abs()).fold(f64::INFINITY, f64::min);
    beats.iter().map(|&b| nearest(b)).fold(0.0, f64::max)
}

#[test]
fn tempo_bars_and_chords_of_the_example_lines_are_heard() {
    for (name, tempo, chart) in [("rock.flac", 132.0, "Em C G D"), ("jazz.flac", 136.0, "Dm7 G7 Cmaj7 A7")] {
        let heard = hear(&example(name)).unwrap();
        assert!(heard.constant && (heard.tempo - tempo).abs() < 0.01, "{name}: {heard:?}");
        assert!((heard.bar1_seconds() - 0.5).abs() < 0.02, "{name}: {}", heard.bar1_seconds());
        assert_eq!(heard.meter, Meter::FourFour);
        for (heard, chord) in heard.chords.split(' ').zip(chart.split(' ').cycle()) {
            assert_eq!(heard, chord, "{name}");
        }
    }
}

#[test]
fn a_tempo_that_slows_down_is_followed() {
    // From 112 to 104 BPM in 40 bars.
    let mut beats = vec![0.4];
    for k in 0..96 {
        beats.push(beats[k] + 60.0 / (112.0 - 8.0 * k as f64 / 96.0));
    }
    let heard = hear(&line(&beats)).unwrap();
    assert!(!heard.constant);
    assert!(farthest(&heard, &beats[2..94]) < 0.04, "{}", farthest(&heard, &beats[2..94]));
    let chart = heard.chart().unwrap();
    assert!(chart.has_chords());
}

#[test]
fn a_stop_in_mid_song_does_not_move_the_beat() {
    let beats: Vec<f64> = (0..64).map(|k| 0.7 + 0.55 * f64::from(k)).collect();
    let mut samples = line(&beats);
    let at = |beat: usize| (beats[beat] * SAMPLE_RATE as f64) as usize;
    samples[at(24)..at(36)].fill(0.0);
    let heard = hear(&samples).unwrap();
    assert!(farthest(&heard, &beats[..60]) < 0.03 && (heard.bar1_seconds() - 0.7).abs() < 0.03, "{heard:?}");
}

#[test]
fn notes_in_other_octaves_change_neither_beat_nor_chords() {
    let beats: Vec<f64> = (0..72).map(|k| 0.5 + 0.52 * f64::from(k)).collect();
    for octaves in [|_| 12.0, |k: usize| [0.0, 12.0][k % 2], |k| [0.0, 0.0, 12.0, 24.0][k * 7 % 4]] {
        let heard = hear(&line_with(&beats, octaves)).unwrap();
        assert!(farthest(&heard, &beats[..68]) < 0.03, "{heard:?}");
        assert!(heard.chords.starts_with("Em C G D Em C G D"), "{}", heard.chords);
    }
}

#[test]
fn the_beat_is_found_after_an_intro_in_free_time() {
    let mut beats = vec![0.6];
    for length in [0.9, 0.62, 1.1, 0.7, 1.3, 0.8, 0.95, 1.2] {
        beats.push(beats[beats.len() - 1] + length);
    }
    let intro = beats.len();
    for _ in 0..80 {
        beats.push(beats[beats.len() - 1] + 0.5);
    }
    let heard = hear(&line(&beats)).unwrap();
    let steady = &beats[intro + 4..intro + 76];
    assert!(farthest(&heard, steady) < 0.04, "{} {heard:?}", farthest(&heard, steady));
}

#[test]
fn the_beat_of_speech_is_not_sure() {
    // Syllables of 80 to 300 ms with a falling pitch, a noise at the begin of some, and pauses between phrases.
    let mut state = 7u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f64 / 16_777_216.0
    };
    let mut samples: Vec<f32> = vec![];
    let mut phase = 0.0;
    while samples.len() < 20 * SAMPLE_RATE {
        for syllable in 0..4 + (8.0 * random()) as usize {
            let (length, noisy) = ((SAMPLE_RATE as f64 * (0.08 + 0.22 * random())) as usize, random() < 0.5);
            let (pitch, loud, formant) =
                (130.0 - 3.0 * syllable as f64 + 20.0 * random(), 0.05 + 0.2 * random(), 3 + (9.0 * random()) as usize);
            for n in 0..length {
                let part = n as f64 / length as f64;
                phase += TAU * pitch * (1.0 - 0.1 * part) / SAMPLE_RATE as f64;
                let tone: f64 = (1..20).map(|h| (phase * h as f64).sin() / (1.0 + (h as f64 - formant as f64).powi(2))).sum();
                let sound = if noisy && part < 0.25 { random() - 0.5 } else { tone };
                samples.push((loud * sound * (TAU * part / 2.0).sin()) as f32);
            }
        }
        samples.resize(samples.len() + (SAMPLE_RATE as f64 * (0.2 + 0.8 * random())) as usize, 0.0);
    }
    let heard = hear(&samples);
    assert!(heard.as_ref().is_none_or(|heard| heard.beat_confidence < Heard::SURE), "{heard:?}");
}

#[test]
fn no_beat_is_heard_in_silence_hum_and_noise() {
    let n = 10 * SAMPLE_RATE;
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / 16_777_216.0 - 0.5
    };
    let noise: Vec<f32> = (0..n).map(|_| random()).collect();
    let hum: Vec<f32> = (0..n).map(|k| 0.2 * (TAU * 50.0 * k as f64 / SAMPLE_RATE as f64).sin() as f32).collect();
    for (name, samples) in [("silence", vec![0.0; n]), ("hum", hum), ("noise", noise), ("nothing", Vec::new())] {
        assert_eq!(hear(&samples), None, "{name}");
    }
}

#[test]
fn corrections_change_the_beats_as_they_say() {
    let samples = example("rock.flac");
    let with =
        |correction| listen(&[Recording { voice: Voice::Single, samples: &samples }], &Known::default(), &[correction]).unwrap();
    assert!((with(Correction::Half).tempo - 66.0).abs() < 0.1);
    assert!((with(Correction::Double).tempo - 264.0).abs() < 0.2);
    let beat = 60.0 / 132.0;
    let shifted = (with(Correction::Shift(1)).bar1_seconds() - 0.5) / beat;
    assert!((shifted.rem_euclid(4.0) - 1.0).abs() < 0.05, "{shifted}");
    let off = (with(Correction::OffBeat).bar1_seconds() - 0.5) / beat;
    assert!((off.rem_euclid(1.0) - 0.5).abs() < 0.05, "{off}");
}

#[test]
fn chords_are_heard_on_a_clock_that_is_known() {
    let beats: Vec<f64> = (0..80).map(|k| 0.5 + 60.0 / 132.0 * f64::from(k)).collect();
    let known = Known { clock: Some(KnownClock { beats, bar1: 0, meter: Meter::FourFour }), ..Known::default() };
    let heard = listen(&[Recording { voice: Voice::Single, samples: &example("rock.flac") }], &known, &[]).unwrap();
    assert!(heard.chords.starts_with("Em C G D Em C G D"), "{}", heard.chords);
}

#[test]
fn every_pattern_has_a_weight_and_fills_a_bar() {
    use super::events::KINDS;
    use super::patterns::LINES;
    for feel in &super::tables::TABLES.rhythm.feels {
        for voice in [Voice::Single, Voice::Drums, Voice::Chords] {
            for patterns in [feel.of(voice), feel.fine(voice)] {
                assert_eq!(patterns.weights.len(), patterns.patterns.len());
                let weights: f64 = patterns.weights.iter().sum();
                assert!((weights - 1.0).abs() < 0.02, "{voice:?}: {weights}");
                assert!(patterns.patterns.iter().all(|p| p.len() == feel.beats * LINES * KINDS), "{voice:?}");
            }
        }
        assert!(feel.fine(Voice::Drums).weights.len() > feel.of(Voice::Drums).weights.len());
    }
}
