//! Measures the round-trip latency of a device: a cable connects its output to its input, chirps are played
//! and found again in what is heard. The part that the device does not report is the difference to what it
//! reports.

use std::time::{Duration, Instant};

use sideman_engine::audio::RATE;

use crate::device::{self, DeviceConfig};
use crate::input::{self, InputReader};
use crate::live::EngineHandle;
use crate::output::{self, OutputWriter};
use crate::slot_layout::SlotLayout;

/// Chirps, one a second; the first comes after a second, when the device has settled.
const CHIRPS: usize = 3;
const SECOND: usize = RATE as usize;
/// Samples of a chirp: 100 ms from 200 Hz to 6 kHz.
const CHIRP: usize = SECOND / 10;
/// How far to search on either side, in samples.
const SEARCH: i64 = SECOND as i64 * 2 / 5;
/// Correlation below which a chirp was not heard.
const HEARD: f64 = 0.5;
/// How long opening the device may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A measured round trip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundTrip {
    /// Latency that the device reports, input and output together, in ms.
    pub reported: f64,
    /// Latency that it does not report, in ms; negative where it reports too much.
    pub extra: f64,
    /// Correlation of the worst chirp with what was heard of it, 0 to 1.
    pub correlation: f64,
    /// Difference between the largest and the smallest measurement, in ms.
    pub spread: f64,
}

/// Why nothing was measured.
#[derive(Debug, Clone, PartialEq)]
pub enum CalibrationError {
    /// The device can't be opened; why.
    Device(String),
    /// No input comes from the device, or it takes no output.
    Silent {
        /// The device.
        description: String,
    },
    /// No chirp is heard: there is no cable, or it is not loud enough.
    NoChirp {
        /// Peak of the input in dBFS.
        peak: f64,
    },
}

impl std::fmt::Display for CalibrationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CalibrationError::Device(error) => write!(f, "{error}"),
            CalibrationError::Silent { description } => write!(f, "{description}: the device passes no sound"),
            CalibrationError::NoChirp { peak } => write!(
                f,
                "no chirp is heard at the input, whose peak is {peak:.0} dBFS: connect the output to it with a cable and turn both up"
            ),
        }
    }
}

impl std::error::Error for CalibrationError {}

/// Plays chirps on the device and listens to them.
///
/// # Errors
/// See [`CalibrationError`].
pub fn measure(config: &DeviceConfig) -> Result<RoundTrip, CalibrationError> {
    let layout = SlotLayout::new(config.stems.len());
    let (engine, requests) = EngineHandle::new();
    let rings = std::thread::spawn(move || {
        let mut rings = None;
        requests.answer_one(CONNECT_TIMEOUT, layout, |rate_in, rate_out, steered| {
            let (input, reader) = input::ring(rate_in, 0, steered)?;
            let (writer, output) = output::ring(rate_out, layout.channels(), 0)?;
            rings = Some((reader, writer));
            Ok((input, output))
        });
        rings
    });
    // A stream belongs to the thread that opened it, so this one opens it and the other one answers it.
    let stream = device::open(config, &engine, None).map_err(CalibrationError::Device)?;
    let no_rings = || CalibrationError::Device("the device was opened without rings".into());
    let (input, output) = rings.join().ok().flatten().ok_or_else(no_rings)?;
    let chirp = chirp();
    let silent = || CalibrationError::Silent { description: stream.description() };
    let heard = play_and_listen(input, output, layout, &chirp).ok_or_else(silent)?;
    let (latency_in, latency_out) = stream.stats().latency_ms(stream.rates());
    drop(stream);
    let found: Vec<(f64, f64)> = (1..=CHIRPS).map(|n| find(&chirp, &heard, n * SECOND)).collect();
    let correlation = found.iter().map(|f| f.1).fold(1.0, f64::min);
    if correlation < HEARD {
        let peak = heard.iter().fold(0f32, |peak, x| peak.max(x.abs()));
        return Err(CalibrationError::NoChirp { peak: 20.0 * f64::from(peak.max(1e-6)).log10() });
    }
    let mut late: Vec<f64> = found.iter().map(|f| f.0 * 1e3 / f64::from(RATE)).collect();
    late.sort_by(f64::total_cmp);
    let (first, last) = (late[0], late[CHIRPS - 1]);
    Ok(RoundTrip { reported: f64::from(latency_in + latency_out), extra: late[CHIRPS / 2], correlation, spread: last - first })
}

/// Plays all chirps and returns what was heard meanwhile; none where no input comes or no output is taken.
fn play_and_listen(mut input: InputReader, mut output: OutputWriter, layout: SlotLayout, chirp: &[f32]) -> Option<Vec<f32>> {
    let length = (CHIRPS + 2) * SECOND;
    let (mut heard, mut piece) = (Vec::with_capacity(length), Vec::new());
    let (mut written, began) = (0, Instant::now());
    while heard.len() < length {
        if began.elapsed() > Duration::from_secs(10 + CHIRPS as u64) {
            return None;
        }
        // Half a second ahead of what was heard, which is enough for any device that can be played on.
        while written < length && written < heard.len() + SECOND / 2 {
            let slots: Vec<f32> = (written..written + CHIRP).flat_map(|n| slot(chirp, layout, n)).collect();
            if output.write(&slots) > 0 {
                return None;
            }
            written += CHIRP;
        }
        if input.fill(CHIRP) >= CHIRP {
            input.take(CHIRP, &mut piece);
            heard.extend_from_slice(&piece);
        } else {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Some(heard)
}

/// The slot of sample `n`: the chirp on left and right; stems and click are silent.
fn slot(chirp: &[f32], layout: SlotLayout, n: usize) -> Vec<f32> {
    let mut slot = vec![0.0; layout.channels()];
    if (1..=CHIRPS).contains(&(n / SECOND)) {
        let x = chirp.get(n % SECOND).copied().unwrap_or(0.0);
        (slot[layout.left()], slot[layout.right()]) = (x, x);
    }
    slot
}

/// The chirp, at −6 dBFS, faded in and out.
fn chirp() -> Vec<f32> {
    let (from, to, n) = (200.0f64, 6000.0f64, CHIRP as f64);
    let rate = f64::from(RATE);
    (0..CHIRP)
        .map(|i| {
            let t = i as f64;
            let phase = std::f64::consts::TAU * (from * t + (to - from) * t * t / (2.0 * n)) / rate;
            let envelope = (std::f64::consts::PI * (t + 0.5) / n).sin().sqrt();
            (0.5 * envelope * phase.sin()) as f32
        })
        .collect()
}

/// Finds `chirp`, expected at sample `at`, in `heard`: samples late (fractions by a parabola), and
/// correlation, 0 to 1.
fn find(chirp: &[f32], heard: &[f32], at: usize) -> (f64, f64) {
    let norm = chirp.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
    let correlation = |late: i64| -> f64 {
        let Some(piece) = usize::try_from(at as i64 + late).ok().and_then(|from| heard.get(from..from + chirp.len())) else {
            return 0.0;
        };
        let (mut sum, mut power) = (0.0, 1e-9);
        for (x, y) in chirp.iter().zip(piece) {
            sum += f64::from(x * y);
            power += f64::from(y * y);
        }
        // A cable may invert the sign.
        (sum / (norm * f64::sqrt(power))).abs()
    };
    let best = (-SEARCH..SEARCH).max_by(|a, b| correlation(*a).total_cmp(&correlation(*b))).unwrap_or(0);
    let (before, peak, after) = (correlation(best - 1), correlation(best), correlation(best + 1));
    let bend = before - 2.0 * peak + after;
    let fraction = if bend < 0.0 { 0.5 * (before - after) / bend } else { 0.0 };
    (best as f64 + fraction.clamp(-0.5, 0.5), peak)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chirp_is_found_where_it_is_soft_inverted_and_noisy() {
        let chirp = chirp();
        for late in [-3000i64, 0, 17, 9000] {
            let mut heard = vec![0f32; 3 * SECOND];
            let mut seed = 1u32;
            for x in &mut heard {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *x = (seed as f32 / u32::MAX as f32 - 0.5) * 0.005;
            }
            for (n, x) in chirp.iter().enumerate() {
                heard[(SECOND as i64 + late) as usize + n] -= 0.02 * x;
            }
            let (found, correlation) = find(&chirp, &heard, SECOND);
            assert!((found - late as f64).abs() < 0.2 && correlation > 0.8, "{late}: {found}, {correlation}");
        }
        assert!(find(&chirp, &vec![0.0; 3 * SECOND], SECOND).1 < 0.1);
    }
}
