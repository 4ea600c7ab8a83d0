use std::f64::consts::TAU;

use super::*;

/// Features of a signal, one for each whole frame.
fn features(signal: &[f32]) -> Vec<Features> {
    let mut listener = Listener::new();
    signal.as_chunks().0.iter().map(|frame| listener.push(frame)).collect()
}

/// `seconds` of a plucked tone that begins at sample `start`: eight harmonics, decaying.
fn pluck(pitch: f64, start: usize, seconds: f64) -> Vec<f32> {
    let frequency = 440.0 * 2f64.powf((pitch - 69.0) / 12.0);
    let sample = |n: usize| {
        let t = (n as f64 - start as f64) / SAMPLE_RATE as f64;
        let tone = |h: i32| (TAU * frequency * f64::from(h) * t).sin() / f64::from(h) * (-t * f64::from(h)).exp();
        if t < 0.0 { 0.0 } else { (0.3 * (1..=8).map(tone).sum::<f64>()) as f32 }
    };
    (0..(seconds * SAMPLE_RATE as f64) as usize).map(sample).collect()
}

#[test]
fn notes_from_low_e_to_high_g_have_their_pitch_and_onset() {
    for pitch in 28..=67 {
        let start = 16_000 + 37 * pitch;
        let all = features(&pluck(pitch as f64, start, 1.0));
        let onsets: Vec<i64> = all.iter().filter_map(|f| f.onset).map(|o| o.sample).collect();
        assert_eq!(onsets.len(), 1, "{pitch}: {onsets:?}");
        assert!((onsets[0] - start as i64).abs() < 800, "{pitch}: {onsets:?}, not {start}");
        // The pitch is known 80 ms after the onset.
        for f in &all[start / FRAME + 5..] {
            assert!((f.pitch - pitch as f64).abs() < 0.1 && f.note() == Some(pitch as u8), "{pitch}: {f:?}");
        }
    }
}

#[test]
fn silence_noise_and_invalid_samples_have_no_note() {
    let silence = features(&[0.0; 32_000]);
    assert!(silence.iter().all(|f| !f.sounding && f.note().is_none() && f.onset.is_none() && f.chroma == [0; 12]));
    let mut state = 1u64;
    let noise: Vec<f32> = (0..32_000)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / 16_777_216.0 - 0.5
        })
        .collect();
    let voiced = features(&noise).iter().filter(|f| f.note().is_some()).count();
    assert!(voiced < 5, "{voiced} of 50 frames of noise have a note");
    for bad in [f32::NAN, f32::INFINITY] {
        assert!(features(&[bad; 6400]).iter().all(|f| f.level.is_finite() && f.confidence == 0.0));
    }
}

#[test]
fn chroma_shows_the_notes_of_a_chord() {
    let chord = [48.0, 52.0, 55.0].map(|pitch| pluck(pitch + 12.0, 0, 0.5));
    let sum: Vec<f32> = (0..16_000).map(|n| chord.iter().map(|tone| tone[n]).sum::<f32>() / 3.0).collect();
    let chroma = features(&sum)[15].chroma;
    let mut order: Vec<usize> = (0..12).collect();
    order.sort_by_key(|&class| std::cmp::Reverse(chroma[class]));
    order.truncate(3);
    order.sort_unstable();
    assert_eq!(order, [0, 4, 7], "{chroma:?}");
}
