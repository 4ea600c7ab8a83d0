//! Reads an audio file as mono f32 at 32 kHz: WAV, FLAC, MP3 or OGG Vorbis, 4 to 384 kHz. Channels are
//! averaged. Files are decoded packet by packet, so that only the result is in memory.

use std::fs::File;
use std::path::{Path, PathBuf};

use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error as Decode;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::{MAX_MINUTES, RATE, Resampler};
use crate::error::{Error, Result};

/// Sample rates that are read, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

/// Largest sample value of a float file (full scale is 1). A file with larger ones is not what its header
/// says.
const MAX_PEAK: f32 = 16.0;

/// A recording, and what was wrong with its file.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Mono at 32 kHz; all finite.
    pub samples: Vec<f32>,
    /// Sample rate of the file in Hz.
    pub rate: u32,
    /// Channels of the file.
    pub channels: usize,
    /// Samples of the file that were NaN or infinite. They are 0 in `samples`.
    pub not_finite: u64,
    /// Clipped samples: at full scale, after another one at full scale with the same sign.
    pub clipped: u64,
    /// Damaged packets, which are left out.
    pub skipped: u64,
    /// Sample frames that the header announces and the file does not have.
    pub missing: u64,
    path: PathBuf,
}

impl Recording {
    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(RATE)
    }

    /// A sentence for each defect of the file.
    pub fn warnings(&self) -> Vec<String> {
        let path = self.path.display();
        let mut all = Vec::new();
        if self.not_finite > 0 {
            all.push(format!("{path}: {} samples are NaN or infinite; they are read as silence", self.not_finite));
        }
        if self.missing > 0 {
            let seconds = self.missing as f64 / f64::from(self.rate);
            all.push(format!("{path}: ends {seconds:.2} s earlier than its header says; the rest is used"));
        }
        if self.skipped > 0 {
            all.push(format!(
                "{path}: {} damaged packets are left out; the audio after each is early by its length",
                self.skipped
            ));
        }
        if self.clipped > 0 {
            all.push(format!("{path}: {} samples are clipped", self.clipped));
        }
        if super::level::peak(&self.samples) < 1e-4 {
            all.push(format!("{path}: silent (never above -80 dBFS)"));
        }
        all
    }
}

/// Mixes a file down to mono and counts its defects.
#[derive(Default)]
struct Downmix {
    not_finite: u64,
    clipped: u64,
    peak: f32,
    /// Last sample of each channel.
    last: Vec<f32>,
}

impl Downmix {
    /// Puts the mean of `channels` interleaved channels into `mono`.
    fn run(&mut self, interleaved: &[f32], channels: usize, mono: &mut Vec<f32>) {
        self.last.resize(channels, 0.0);
        mono.clear();
        for frame in interleaved.chunks_exact(channels) {
            let mut sum = 0.0;
            for (x, last) in frame.iter().zip(&mut self.last) {
                let x = if x.is_finite() {
                    *x
                } else {
                    self.not_finite += 1;
                    0.0
                };
                // Full scale of 16-bit files is 32767/32768.
                if x.abs() >= 0.9999 && last.abs() >= 0.9999 && x.signum() == last.signum() {
                    self.clipped += 1;
                }
                self.peak = self.peak.max(x.abs());
                *last = x;
                sum += x;
            }
            mono.push(sum / channels as f32);
        }
    }
}

/// Reads a recording of at most [`MAX_MINUTES`] with [`read_up_to`].
///
/// # Errors
/// Those of [`read_up_to`].
pub fn read(path: &Path) -> Result<Recording> {
    read_up_to(path, MAX_MINUTES)
}

/// Reads a recording of at most `most` minutes.
///
/// # Errors
/// The file is missing, not audio or without samples; its rate is not between 4 and 384 kHz; it is longer
/// than `most` minutes; or its samples are far above full scale. A file that ends early, has NaNs or a
/// damaged packet is read as far as possible: see [`Recording::warnings`].
pub fn read_up_to(path: &Path, most: u64) -> Result<Recording> {
    // A decoder can panic on a damaged header (symphonia's WAV reader shifts by the channel count). The file
    // is unreadable then, but the program should go on. Nothing outlives the closure, so no half-changed
    // state can be seen.
    std::panic::catch_unwind(|| decode(path, most))
        .unwrap_or_else(|_| Err(Error::file(path, "can't be read as audio: its header is damaged")))
}

fn decode(path: &Path, most: u64) -> Result<Recording> {
    let unusable = |what: String| Error::file(path, what);
    let not_audio =
        |what: &str| Error::file(path, format!("can't be read as audio ({what}); it should be WAV, FLAC, MP3 or OGG Vorbis"));

    let file = File::open(path).map_err(Error::io(path))?;
    let meta = file.metadata().map_err(Error::io(path))?;
    if meta.is_dir() {
        return Err(unusable("is a folder; it should be an audio file".to_owned()));
    }
    if meta.is_file() && meta.len() == 0 {
        return Err(unusable("the file is empty".to_owned()));
    }
    let mut hint = Hint::new();
    if let Some(extension) = path.extension().and_then(|e| e.to_str()) {
        hint.with_extension(extension);
    }
    let stream = MediaSourceStream::new(Box::new(file), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|e| not_audio(&sentence(&e)))?;
    let track = format.default_track(TrackType::Audio).ok_or_else(|| not_audio("it has no audio track"))?;
    let (id, promised) = (track.id, track.num_frames);
    let parameters =
        track.codec_params.as_ref().and_then(|c| c.audio()).ok_or_else(|| not_audio("its codec is not supported"))?;
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|e| not_audio(&sentence(&e)))?;

    let mut spec: Option<(u32, usize)> = None;
    let mut resampler: Option<Resampler> = None;
    let (mut interleaved, mut mono, mut samples) = (Vec::<f32>::new(), Vec::new(), Vec::new());
    let mut downmix = Downmix::default();
    let (mut frames, mut skipped) = (0u64, 0u64);
    // Ok(None) is the end. An error here means that the file ends early; what came before it is good.
    while let Ok(Some(packet)) = format.next_packet() {
        if packet.track_id != id {
            continue;
        }
        let decoded = match decoder.decode(&packet) {
            Ok(decoded) => decoded,
            Err(Decode::DecodeError(_) | Decode::IoError(_)) => {
                skipped += 1;
                continue;
            }
            Err(_) => break,
        };
        let now = (decoded.spec().rate(), decoded.spec().channels().count());
        match spec {
            None => {
                if !RATES.contains(&now.0) {
                    return Err(unusable(format!(
                        "sample rate {} Hz; it should be between {} and {} Hz",
                        now.0,
                        RATES.start(),
                        RATES.end()
                    )));
                }
                if now.1 == 0 {
                    return Err(not_audio("no channels"));
                }
                spec = Some(now);
                resampler = Some(Resampler::new(now.0, RATE)?);
            }
            Some(first) if first != now => {
                return Err(unusable(format!(
                    "changes from {} Hz, {} channels to {} Hz, {} channels; both should be the same throughout",
                    first.0, first.1, now.0, now.1
                )));
            }
            Some(_) => {}
        }
        interleaved.resize(decoded.samples_interleaved(), 0.0);
        decoded.copy_to_slice_interleaved(&mut interleaved);
        downmix.run(&interleaved, now.1, &mut mono);
        frames += mono.len() as u64;
        if frames > most * 60 * u64::from(now.0) {
            return Err(unusable(format!("longer than {most} minutes, the longest that is read; cut it into parts")));
        }
        if let Some(resampler) = &mut resampler {
            resampler.push(&mono, &mut samples);
        }
    }
    let (Some((rate, channels)), Some(resampler)) = (spec, resampler) else {
        return Err(unusable(match skipped {
            0 => "has no samples".to_owned(),
            n => format!("none of its {n} packets can be decoded"),
        }));
    };
    resampler.finish(&mut samples);
    if samples.is_empty() {
        return Err(unusable("has no samples".to_owned()));
    }
    if downmix.peak > MAX_PEAK {
        return Err(unusable(format!(
            "its peak is {:.3e} times full scale (1 in a float file); normalise it first",
            downmix.peak
        )));
    }
    Ok(Recording {
        samples,
        rate,
        channels,
        not_finite: downmix.not_finite,
        clipped: downmix.clipped,
        skipped,
        missing: promised.map_or(0, |n| n.saturating_sub(frames)),
        path: path.to_owned(),
    })
}

/// A decoder's error as text.
fn sentence(error: &Decode) -> String {
    match error {
        Decode::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => "it ends inside its header".to_owned(),
        Decode::Unsupported(what) => (*what).to_owned(),
        other => other.to_string(),
    }
}
