//! Measurements of recordings: onsets of clicks, their grid, and the position of a piece in a recording.

/// Frames at which clicks begin, at `rate`.
pub fn strikes(samples: impl Iterator<Item = f32>, rate: usize) -> Vec<usize> {
    let mut all: Vec<usize> = Vec::new();
    for (n, x) in samples.enumerate() {
        // Above the ringing of a resampler before an onset.
        if x.abs() > 0.05 && all.last().is_none_or(|last| n - last > rate / 4) {
            all.push(n);
        }
    }
    all
}

/// How often clicks leave their grid of `beat` frames, and by how many frames they are off the grid
/// otherwise, at most.
pub fn grid(strikes: &[usize], beat: usize) -> (u64, usize) {
    let (mut moves, mut worst, mut from) = (0, 0, strikes.first().copied().unwrap_or(0));
    for &n in strikes {
        let off = ((n - from + beat / 2) % beat).abs_diff(beat / 2);
        if off > 2 {
            (moves, from) = (moves + 1, n);
        } else {
            worst = worst.max(off);
        }
    }
    (moves, worst)
}

/// The position of `piece` in `whole`, and their correlation there.
pub fn find(piece: &[f32], whole: &[f32]) -> (usize, f64) {
    let like = |at: usize, step: usize| -> f64 {
        let (mut sum, mut a, mut b) = (0.0, 1e-9, 1e-9);
        for n in (0..piece.len()).step_by(step) {
            let (x, y) = (f64::from(piece[n]), f64::from(whole[at + n]));
            (sum, a, b) = (sum + x * y, a + x * x, b + y * y);
        }
        sum / f64::sqrt(a * b)
    };
    let last = whole.len() - piece.len();
    let best = |all: &mut dyn Iterator<Item = usize>, step| {
        all.max_by(|x, y| like(*x, step).total_cmp(&like(*y, step))).unwrap_or_default()
    };
    let rough = best(&mut (0..last).step_by(16), 64);
    let at = best(&mut (rough.saturating_sub(64)..(rough + 64).min(last)), 4);
    (at, like(at, 1))
}
