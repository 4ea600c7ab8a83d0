//! A song that is taken apart for `edit --replace`: the remainder and the removed stems as files at the song's own rate,
//! and all stems as the model hears them.

use std::path::Path;

use anyhow::Result;
use sideman_engine::audio::wav::WavFile;
use sideman_engine::audio::{RATE, Resampler, SongReader};
use sideman_engine::separate::{Choice, Separator, SilenceGate, SongSeparation};
use sideman_kernels::cpu::CpuBackend;

use crate::progress::Progress;

/// The song without the removed stems.
pub const REMAINDER: &str = "remainder.wav";
/// Frames of [`Progress`] in a second.
const PROGRESS_RATE: u64 = 50;

/// The file of a removed stem.
pub fn removed_file(stem: &str) -> String {
    format!("removed-{stem}.wav")
}

/// A stem that was taken out.
pub struct Removed {
    /// Its name.
    pub name: String,
    /// Energy of each channel.
    energy: Vec<f64>,
    frames: u64,
}

impl Removed {
    /// Mean power of a sample.
    pub fn power(&self) -> f64 {
        self.energy.iter().sum::<f64>() / (self.frames * self.energy.len() as u64).max(1) as f64
    }

    /// Gain of each channel, with a mean power of 1: where the stem was between left and right.
    pub fn pan(&self) -> Vec<f32> {
        let mean = self.energy.iter().sum::<f64>() / self.energy.len() as f64;
        self.energy.iter().map(|energy| if mean > 0.0 { (energy / mean).sqrt() as f32 } else { 1.0 }).collect()
    }
}

/// What [`Apart::run`] found.
pub struct Parts {
    /// Of the song, in Hz.
    pub rate: u32,
    /// Of the song.
    pub channels: usize,
    /// Sample frames of the song.
    pub frames: u64,
    /// Samples of the remainder that are the song's, bit for bit.
    pub unchanged: u64,
    /// Largest absolute sample of the song.
    pub peak: f32,
    /// Energy of the song, over all samples.
    pub power: f64,
    /// The removed stems, in the order of `--replace`.
    pub removed: Vec<Removed>,
    /// The model's stems, mono at 32 kHz, all of the same length; none: the separator has no such stem.
    pub stems: Vec<Option<Vec<f32>>>,
}

/// A song before it is taken apart.
pub struct Apart<'a> {
    cpu: &'a mut CpuBackend,
    separator: &'a Separator<CpuBackend>,
    song: SongReader,
    separation: SongSeparation<CpuBackend>,
    /// For each removed stem: its index in the separation.
    removed: Vec<(String, usize)>,
    /// For each of the model's stems: its index in the separation.
    heard: Vec<Option<usize>>,
}

impl<'a> Apart<'a> {
    /// Opens a song. `replace`: the stems that are removed. `stems`: the model's.
    ///
    /// # Errors
    /// The song can't be read.
    pub fn new(
        cpu: &'a mut CpuBackend,
        separator: &'a Separator<CpuBackend>,
        choice: &Choice,
        song: &Path,
        replace: &[String],
        stems: &[String],
    ) -> Result<Self> {
        let song = SongReader::open(song)?;
        let separation = SongSeparation::new(cpu, separator, choice, song.rate(), song.channels())?;
        let names = choice.names(separator.config());
        let index = |name: &String| names.iter().position(|n| n == name);
        let removed = replace.iter().filter_map(|name| Some((name.clone(), index(name)?))).collect();
        Ok(Apart { cpu, separator, song, separation, removed, heard: stems.iter().map(index).collect() })
    }

    /// Takes the song apart. The files go to `folder`; errors call them by their names in `shown`.
    ///
    /// # Errors
    /// The song can't be read to its end, or a file can't be written.
    pub fn run(mut self, folder: &Path, shown: &Path, progress: &mut Progress) -> Result<Parts> {
        let (rate, channels) = (self.song.rate(), self.song.channels());
        let create = |file: &str| WavFile::create(&folder.join(file), &shown.join(file), channels, rate);
        let mut sink = Sink {
            channels,
            song: Vec::new(),
            gated: 0,
            remainder: create(REMAINDER)?,
            unchanged: 0,
            removed: (self.removed.iter())
                .map(|(name, index)| {
                    Ok(Taken {
                        index: *index,
                        gate: SilenceGate::new(rate, channels),
                        ready: Vec::new(),
                        file: create(&removed_file(name))?,
                        energy: vec![0.0; channels],
                    })
                })
                .collect::<Result<_>>()?,
            heard: self.heard.iter().map(|index| index.map(|i| Mono::new(i, rate)).transpose()).collect::<Result<_>>()?,
        };
        let (mut block, mut peak, mut power) = (Vec::new(), 0.0f32, 0.0);
        let shown = |frames: u64| (frames * PROGRESS_RATE / u64::from(rate)) as usize;
        while self.song.next(&mut block)? {
            for x in &block {
                peak = peak.max(x.abs());
                power += f64::from(*x).powi(2);
            }
            sink.song.extend_from_slice(&block);
            self.separation.push(self.cpu, self.separator, &block, &mut |stems| sink.take(stems))?;
            let frames = self.song.frames();
            progress.update(shown(frames), shown(self.song.promised().unwrap_or(frames).max(frames)));
        }
        self.separation.finish(self.cpu, self.separator, &mut |stems| sink.take(stems))?;
        for warning in self.song.warnings() {
            tracing::warn!("{warning}");
        }
        let frames = self.song.frames();
        let Finished { unchanged, energies, mut stems } = sink.finish()?;
        let longest = stems.iter().flatten().map(Vec::len).max().unwrap_or(0);
        stems.iter_mut().flatten().for_each(|stem| stem.resize(longest, 0.0));
        let removed =
            self.removed.into_iter().zip(energies).map(|((name, _), energy)| Removed { name, energy, frames }).collect();
        Ok(Parts { rate, channels, frames, unchanged, peak, power, removed, stems })
    }
}

/// Takes the stems of the separation piece by piece.
struct Sink {
    channels: usize,
    /// The song from the first sample on that is not in the remainder yet.
    song: Vec<f32>,
    /// Samples of `song` that the gates have.
    gated: usize,
    remainder: WavFile,
    unchanged: u64,
    removed: Vec<Taken>,
    heard: Vec<Option<Mono>>,
}

/// A removed stem that is being written.
struct Taken {
    index: usize,
    gate: SilenceGate,
    /// Samples that the gate has decided, and the remainder does not have yet.
    ready: Vec<f32>,
    file: WavFile,
    energy: Vec<f64>,
}

/// What a [`Sink`] knows at the end: see [`Parts`].
struct Finished {
    unchanged: u64,
    energies: Vec<Vec<f64>>,
    stems: Vec<Option<Vec<f32>>>,
}

impl Sink {
    fn take(&mut self, stems: &[Vec<f32>]) -> sideman_engine::Result<()> {
        let len = stems[0].len();
        let song = &self.song[self.gated..self.gated + len];
        for taken in &mut self.removed {
            taken.gate.push(&stems[taken.index], song, &mut taken.ready);
        }
        self.gated += len;
        for mono in self.heard.iter_mut().flatten() {
            mono.push(&stems[mono.index], self.channels);
        }
        self.write()
    }

    /// Writes what all gates have decided.
    fn write(&mut self) -> sideman_engine::Result<()> {
        let len = self.removed.iter().map(|taken| taken.ready.len()).min().unwrap_or(0) / self.channels * self.channels;
        let song: Vec<f32> = self.song.drain(..len).collect();
        self.gated -= len;
        let mut remainder = song.clone();
        for taken in &mut self.removed {
            for (i, (rest, x)) in remainder.iter_mut().zip(&taken.ready).enumerate() {
                *rest -= x;
                taken.energy[i % self.channels] += f64::from(*x).powi(2);
            }
            taken.file.write(&taken.ready[..len])?;
            taken.ready.drain(..len);
        }
        self.unchanged += remainder.iter().zip(&song).filter(|(a, b)| a.to_bits() == b.to_bits()).count() as u64;
        self.remainder.write(&remainder)
    }

    /// Completes the files.
    fn finish(mut self) -> Result<Finished> {
        for taken in &mut self.removed {
            let gate = std::mem::replace(&mut taken.gate, SilenceGate::new(1, 1));
            gate.finish(&mut taken.ready);
        }
        self.write()?;
        self.remainder.finish()?;
        let mut energies = Vec::new();
        for taken in self.removed {
            taken.file.finish()?;
            energies.push(taken.energy);
        }
        let stems = self.heard.into_iter().map(|mono| mono.map(Mono::finish)).collect();
        Ok(Finished { unchanged: self.unchanged, energies, stems })
    }
}

/// A stem as the model hears it.
struct Mono {
    index: usize,
    resampler: Resampler,
    samples: Vec<f32>,
}

impl Mono {
    fn new(index: usize, rate: u32) -> Result<Mono> {
        Ok(Mono { index, resampler: Resampler::new(rate, RATE)?, samples: Vec::new() })
    }

    fn push(&mut self, interleaved: &[f32], channels: usize) {
        let mean = |frame: &[f32]| frame.iter().sum::<f32>() / channels as f32;
        let mono: Vec<f32> = interleaved.chunks_exact(channels).map(mean).collect();
        self.resampler.push(&mono, &mut self.samples);
    }

    fn finish(mut self) -> Vec<f32> {
        self.resampler.finish(&mut self.samples);
        self.samples
    }
}

/// Mean power of each stem of a file.
///
/// # Errors
/// The file can't be read.
pub fn levels(
    cpu: &mut CpuBackend,
    separator: &Separator<CpuBackend>,
    choice: &Choice,
    path: &Path,
) -> Result<Vec<(String, f64)>> {
    let mut song = SongReader::open(path)?;
    let mut separation = SongSeparation::new(cpu, separator, choice, song.rate(), song.channels())?;
    let mut levels: Vec<(String, f64)> = choice.names(separator.config()).into_iter().map(|name| (name, 0.0)).collect();
    let mut add = |stems: &[Vec<f32>]| -> sideman_engine::Result<()> {
        for ((_, energy), stem) in levels.iter_mut().zip(stems) {
            *energy += stem.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        }
        Ok(())
    };
    let mut block = Vec::new();
    while song.next(&mut block)? {
        separation.push(cpu, separator, &block, &mut add)?;
    }
    let samples = (song.frames() * song.channels() as u64).max(1) as f64;
    separation.finish(cpu, separator, &mut add)?;
    levels.iter_mut().for_each(|(_, energy)| *energy /= samples);
    Ok(levels)
}
