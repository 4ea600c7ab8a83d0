//! A recording of any kind to mono f32 at 32 kHz: WAV, FLAC, MP3, OGG Vorbis, any rate from 4 to 384 kHz, any number of
//! channels (their mean). Decoded, mixed down and resampled packet by packet: memory is that of the result alone.

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

/// Rates that a recording may have, Hz.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

/// Full scale of a float file is 1; beyond this many times it, the file isn't what its header says.
const MAX_PEAK: f32 = 16.0;

/// What was read.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Mono at 32 kHz; every one finite.
    pub samples: Vec<f32>,
    /// Rate of the file, Hz.
    pub rate: u32,
    /// Channels of the file.
    pub channels: usize,
    /// Samples of the file that were NaN or infinite, now 0.
    pub not_finite: u64,
    /// Samples at full scale next to another one at full scale on the same side: clipping as recorded.
    pub clipped: u64,
    /// Packets that would not decode and were left out.
    pub skipped: u64,
    /// Frames that the header promises and the file doesn't hold.
    pub missing: u64,
    path: PathBuf,
}

impl Recording {
    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(RATE)
    }

    /// One sentence for each thing about the file that a musician should know.
    pub fn warnings(&self) -> Vec<String> {
        let path = self.path.display();
        let mut all = Vec::new();
        if self.not_finite > 0 {
            all.push(format!("{path}: {} samples are not numbers; taken as silence", self.not_finite));
        }
        if self.missing > 0 {
            let seconds = self.missing as f64 / f64::from(self.rate);
            all.push(format!("{path}: ends {seconds:.2} s before its header says; what is there is used"));
        }
        if self.skipped > 0 {
            all.push(format!("{path}: {} damaged packets left out; what follows them is early by as much", self.skipped));
        }
        if self.clipped > 0 {
            all.push(format!("{path}: clipped at {} samples", self.clipped));
        }
        if super::level::peak(&self.samples) < 1e-4 {
            all.push(format!("{path}: silent (below -80 dBFS all through)"));
        }
        all
    }
}

/// Counts what is wrong with the samples of a file while they are mixed down.
#[derive(Default)]
struct Downmix {
    not_finite: u64,
    clipped: u64,
    peak: f32,
    /// Last sample of each channel.
    last: Vec<f32>,
}

impl Downmix {
    /// Mean of `channels` interleaved channels into `mono`.
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
                // 0.9999: full scale of 16 bits is 32767/32768.
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

/// Reads a recording of [`MAX_MINUTES`] at most; see [`read_up_to`].
///
/// # Errors
/// Those of [`read_up_to`].
pub fn read(path: &Path) -> Result<Recording> {
    read_up_to(path, MAX_MINUTES)
}

/// Reads a recording of `most` minutes at most.
///
/// # Errors
/// [`Error`]: not there, not audio, without samples, a rate out of 4–384 kHz, longer than `most` minutes, or samples far beyond
/// full scale. A file that ends early, holds NaNs or a damaged packet is read as far as it goes; see [`Recording::warnings`].
pub fn read_up_to(path: &Path, most: u64) -> Result<Recording> {
    // A decoder may panic on a damaged header (symphonia's WAV reader shifts by the channel count, where overflow is checked): that file
    // is unreadable, and no reason to end the program. Nothing outlives the closure, so nothing can be seen half-done.
    std::panic::catch_unwind(|| decode(path, most))
        .unwrap_or_else(|_| Err(Error::file(path, "not readable as audio: its header is damaged")))
}

fn decode(path: &Path, most: u64) -> Result<Recording> {
    let unusable = |what: String| Error::file(path, what);
    let not_audio =
        |what: &str| Error::file(path, format!("not readable as audio ({what}); WAV, FLAC, MP3 and OGG Vorbis are read"));

    let file = File::open(path).map_err(Error::io(path))?;
    let meta = file.metadata().map_err(Error::io(path))?;
    if meta.is_dir() {
        return Err(unusable("is a folder; give a recording".to_owned()));
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
    let track = format.default_track(TrackType::Audio).ok_or_else(|| not_audio("no audio in it"))?;
    let (id, promised) = (track.id, track.num_frames);
    let parameters = track.codec_params.as_ref().and_then(|c| c.audio()).ok_or_else(|| not_audio("its codec is not known"))?;
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|e| not_audio(&sentence(&e)))?;

    let mut spec: Option<(u32, usize)> = None;
    let mut resampler: Option<Resampler> = None;
    let (mut interleaved, mut mono, mut samples) = (Vec::<f32>::new(), Vec::new(), Vec::new());
    let mut downmix = Downmix::default();
    let (mut frames, mut skipped) = (0u64, 0u64);
    // Ok(None) is the end; an error there is a file that ends early: what came before it is good.
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
                        "a sample rate of {} Hz; {} to {} Hz are read",
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
                    "changes from {} Hz, {} channels to {} Hz, {} channels on the way; one of each is right",
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
            return Err(unusable(format!("longer than {most} minutes; cut it into parts")));
        }
        if let Some(resampler) = &mut resampler {
            resampler.push(&mono, &mut samples);
        }
    }
    let (Some((rate, channels)), Some(resampler)) = (spec, resampler) else {
        return Err(unusable(match skipped {
            0 => "holds no samples".to_owned(),
            n => format!("none of its {n} packets can be decoded"),
        }));
    };
    resampler.finish(&mut samples);
    if samples.is_empty() {
        return Err(unusable("holds no samples".to_owned()));
    }
    if downmix.peak > MAX_PEAK {
        return Err(unusable(format!(
            "samples up to {:.3e} times full scale; a float file's full scale is 1: bring it down first",
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

/// A decoder's complaint in words.
fn sentence(error: &Decode) -> String {
    match error {
        Decode::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => "it ends within its header".to_owned(),
        Decode::Unsupported(what) => (*what).to_owned(),
        other => other.to_string(),
    }
}
