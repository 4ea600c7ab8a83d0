//! New stems in a song: at its rate and length, as loud as the old ones and where they were between left and right; and
//! the mix.

use std::path::Path;

use anyhow::Result;
use sideman_engine::audio::wav::WavFile;
use sideman_engine::audio::{RATE, SongReader, level, resample, room};

use super::apart::{Parts, REMAINDER, Removed, removed_file};

/// The song with the new stems.
pub const MIX: &str = "mix.wav";
/// Level of a stem against the song where the song has none: -6 dB.
const WITHOUT_OLD: f32 = 0.5;
/// Power of a removed stem over the song's below which the song has none: -40 dB.
const NONE: f64 = 1e-4;
/// Most that a new stem is turned up or down.
const MOST_GAIN: f32 = 30.0;

/// A stem that was generated.
pub struct NewStem<'a> {
    /// The stem in whose place it comes.
    pub removed: &'a Removed,
    /// Mono at 32 kHz.
    pub samples: &'a [f32],
}

/// What [`place`] did.
pub struct Placed {
    /// Gain of each new stem.
    pub gains: Vec<f32>,
    /// Gain of the mix: 1, or less where the sum would clip.
    pub mix_gain: f32,
}

/// Writes the new stems and the mix to `folder`, where the remainder and the removed stems are; errors call the files by
/// their names in `shown`. `amount`: level of the room around the new stems of a stereo song.
///
/// # Errors
/// A file can't be read or written.
pub fn place(parts: &Parts, new: &[NewStem], amount: f32, folder: &Path, shown: &Path) -> Result<Placed> {
    let (rate, channels) = (parts.rate, parts.channels);
    let len = parts.frames as usize * channels;
    let mut sum = read(&folder.join(REMAINDER), len)?;
    let mut gains = Vec::new();
    for stem in new {
        let name = &stem.removed.name;
        let mut samples = spread(stem, amount, rate, channels)?;
        samples.resize(len, 0.0);
        let now = level::playing_rms(&samples, channels, rate);
        let song = (parts.power / len.max(1) as f64).sqrt() as f32;
        let has_none = stem.removed.power() < NONE * parts.power / len.max(1) as f64;
        let wanted = if has_none {
            tracing::warn!("the song has hardly any {name}: the new stem is 6 dB softer than the song");
            WITHOUT_OLD * song
        } else {
            level::playing_rms(&read(&folder.join(removed_file(name)), len)?, channels, rate)
        };
        let gain = if now > 0.0 { (wanted / now).min(MOST_GAIN) } else { 1.0 };
        let pan = if has_none { vec![1.0; channels] } else { stem.removed.pan() };
        for frame in samples.chunks_exact_mut(channels) {
            frame.iter_mut().zip(&pan).for_each(|(x, pan)| *x *= gain * pan);
        }
        sum.iter_mut().zip(&samples).for_each(|(sum, x)| *sum += x);
        write(folder, shown, &format!("{name}.wav"), &samples, channels, rate)?;
        gains.push(gain);
    }
    // A song that is above full scale itself stays as loud as it is.
    let (peak, most) = (level::peak(&sum), parts.peak.max(1.0));
    let mix_gain = if peak > most { level::CEILING * most / peak } else { 1.0 };
    if mix_gain < 1.0 {
        sum.iter_mut().for_each(|x| *x *= mix_gain);
        tracing::warn!("the mix is {:.1} dB softer than its parts, which would clip", -level::db(mix_gain));
    }
    write(folder, shown, MIX, &sum, channels, rate)?;
    Ok(Placed { gains, mix_gain })
}

/// The new stem at the song's rate, in all channels: in a stereo song with the room around it.
fn spread(stem: &NewStem, amount: f32, rate: u32, channels: usize) -> Result<Vec<f32>> {
    if channels == 2 && amount > 0.0 {
        let (wet, _) = room::mix(&[stem.samples], amount);
        let side = |first: usize| resample(&wet.iter().skip(first).step_by(2).copied().collect::<Vec<f32>>(), RATE, rate);
        let (left, right) = (side(0)?, side(1)?);
        return Ok(left.into_iter().zip(right).flat_map(|(left, right)| [left, right]).collect());
    }
    let mono = resample(stem.samples, RATE, rate)?;
    Ok(mono.iter().flat_map(|x| std::iter::repeat_n(*x, channels)).collect())
}

/// All `len` samples of a file of ours, interleaved.
fn read(path: &Path, len: usize) -> Result<Vec<f32>> {
    let mut file = SongReader::open(path)?;
    let (mut all, mut block) = (Vec::with_capacity(len), Vec::new());
    while file.next(&mut block)? {
        all.extend_from_slice(&block);
    }
    Ok(all)
}

fn write(folder: &Path, shown: &Path, file: &str, samples: &[f32], channels: usize, rate: u32) -> Result<()> {
    let mut wav = WavFile::create(&folder.join(file), &shown.join(file), channels, rate)?;
    wav.write(samples)?;
    Ok(wav.finish()?)
}
