//! How long sound really takes from our output back to our input, over a cable from one to the other: chirps are played, and found again
//! in what is heard. What the device doesn't tell of its converters and drivers is the difference to what it tells.

use std::time::{Duration, Instant};

use sideman_engine::audio::RATE;

use crate::device::{self, DeviceConfig};
use crate::input;
use crate::live::EngineHandle;
use crate::mix::channels;
use crate::output;

/// Chirps, one a second; the first stands a second in, when the device has settled.
const CHIRPS: usize = 3;
const SECOND: usize = RATE as usize;
/// Samples of a chirp: 100 ms from 200 Hz to 6 kHz.
const CHIRP: usize = SECOND / 10;
/// How far to look on either side, in samples.
const REACH: i64 = SECOND as i64 * 2 / 5;

/// A measured round trip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// What the device tells of, input and output together, in ms.
    pub told: f64,
    /// What it takes beyond that, in ms; negative where the device tells of too much.
    pub beyond: f64,
    /// Likeness of the worst chirp to what was heard of it, 0 to 1.
    pub likeness: f64,
    /// How far the chirps' measures lie from one another, in ms.
    pub spread: f64,
}

/// Plays chirps on the device and listens to them.
///
/// # Errors
/// The device can't be opened, gives no sound within ten seconds, or no chirp is heard: there is no cable, or it is not loud enough.
pub fn measure(asked: &DeviceConfig) -> Result<Round, String> {
    let (link, asks) = EngineHandle::pair();
    let stems = asked.stems.len();
    let ends = std::thread::spawn(move || {
        let mut ends = None;
        asks.answer(Duration::from_secs(10), |rate_in, rate_out, steered| {
            let (ear, hearing) = input::ring(rate_in, 0, steered)?;
            let (writer, reader) = output::ring(rate_out, channels(stems), 0)?;
            ends = Some((hearing, writer));
            Ok((ear, reader))
        });
        ends
    });
    // A backend's streams belong to the thread that opened them.
    let stream = device::open(asked, &link)?;
    let (mut hearing, mut writer) = ends.join().ok().flatten().ok_or("the device asked for no rings")?;
    let length = (CHIRPS + 2) * SECOND;
    let (chirp, mut heard, mut piece) = (chirp(), Vec::with_capacity(length), Vec::new());
    let (mut written, began) = (0, Instant::now());
    while heard.len() < length {
        if began.elapsed() > Duration::from_secs(10 + CHIRPS as u64) {
            return Err(format!("{} gives no sound", stream.about()));
        }
        // Half a second ahead of what was heard, which is enough for any device that could be played on.
        while written < length && written < heard.len() + SECOND / 2 {
            let slots: Vec<f32> = (written..written + CHIRP).flat_map(|n| slot(&chirp, stems, n)).collect();
            if writer.write(&slots) > 0 {
                return Err(format!("{} stands still", stream.about()));
            }
            written += CHIRP;
        }
        if hearing.listen(CHIRP) >= CHIRP {
            hearing.take(CHIRP, &mut piece);
            heard.extend_from_slice(&piece);
        } else {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let (latency_in, latency_out) = stream.stats().latency_ms(stream.rates());
    drop(stream);
    let found: Vec<(f64, f64)> = (1..=CHIRPS).map(|n| find(&chirp, &heard, n * SECOND)).collect();
    let likeness = found.iter().map(|f| f.1).fold(1.0, f64::min);
    if likeness < 0.5 {
        let peak = heard.iter().fold(0f32, |peak, x| peak.max(x.abs()));
        return Err(format!(
            "no chirp is heard at the input (its loudest sample is {:.0} dBFS): connect the output to it with a cable, and turn both up",
            20.0 * f64::from(peak.max(1e-6)).log10()
        ));
    }
    let mut late: Vec<f64> = found.iter().map(|f| f.0 * 1e3 / f64::from(RATE)).collect();
    late.sort_by(f64::total_cmp);
    let (first, last) = (late[0], late[CHIRPS - 1]);
    Ok(Round { told: f64::from(latency_in + latency_out), beyond: late[CHIRPS / 2], likeness, spread: last - first })
}

fn slot(chirp: &[f32], stems: usize, n: usize) -> impl Iterator<Item = f32> {
    let second = n / SECOND;
    let x = if (1..=CHIRPS).contains(&second) { chirp.get(n % SECOND).copied().unwrap_or(0.0) } else { 0.0 };
    // On the mix alone; stems and click are silent.
    std::iter::repeat_n(0.0, stems + 1).chain([x, x])
}

/// The chirp, at −6 dBFS, with round edges.
fn chirp() -> Vec<f32> {
    let (from, to, n) = (200.0f64, 6000.0f64, CHIRP as f64);
    let rate = f64::from(RATE);
    (0..CHIRP)
        .map(|i| {
            let t = i as f64;
            let phase = std::f64::consts::TAU * (from * t + (to - from) * t * t / (2.0 * n)) / rate;
            let edge = (std::f64::consts::PI * (t + 0.5) / n).sin().sqrt();
            (0.5 * edge * phase.sin()) as f32
        })
        .collect()
}

/// Where `chirp`, expected at sample `at`, lies in `heard`: samples late (a part of one is told by a parabola), and likeness, 0 to 1.
fn find(chirp: &[f32], heard: &[f32], at: usize) -> (f64, f64) {
    let own = chirp.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
    let like = |late: i64| -> f64 {
        let Some(piece) = usize::try_from(at as i64 + late).ok().and_then(|from| heard.get(from..from + chirp.len())) else {
            return 0.0;
        };
        let (mut sum, mut power) = (0.0, 1e-9);
        for (x, y) in chirp.iter().zip(piece) {
            sum += f64::from(x * y);
            power += f64::from(y * y);
        }
        // The sign is the cable's.
        (sum / (own * f64::sqrt(power))).abs()
    };
    let best = (-REACH..REACH).max_by(|a, b| like(*a).total_cmp(&like(*b))).unwrap_or(0);
    let (before, peak, after) = (like(best - 1), like(best), like(best + 1));
    let bend = before - 2.0 * peak + after;
    let part = if bend < 0.0 { 0.5 * (before - after) / bend } else { 0.0 };
    (best as f64 + part.clamp(-0.5, 0.5), peak)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chirp_is_found_where_it_is_soft_turned_and_in_noise() {
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
            let (found, likeness) = find(&chirp, &heard, SECOND);
            assert!((found - late as f64).abs() < 0.2 && likeness > 0.8, "{late}: {found}, {likeness}");
        }
        assert!(find(&chirp, &vec![0.0; 3 * SECOND], SECOND).1 < 0.1);
    }
}
