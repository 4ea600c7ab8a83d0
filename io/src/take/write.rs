//! Writes a take.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use sideman_engine::audio::RATE;
use sideman_engine::model::FRAME;
use sideman_engine::task::Meter;
use sideman_engine::{Error, Result, atomic};

use super::overview::{HopState, Overview};
use super::tempo_map::{TempoChange, midi_file};
use super::tokens::TokenFile;
use super::wav_file::WavFile;
use super::{Entry, TakeInfo, wav_names};
use crate::mix::Limiter;
use crate::slot_layout::SlotLayout;

/// Samples after which headers are updated.
const SYNC: u64 = RATE as u64 / 2;

/// Values of a row: the musician's sample, and a slot.
pub const fn row_width(layout: SlotLayout) -> usize {
    1 + layout.channels()
}

/// A take that is being written.
pub struct TakeWriter {
    dir: PathBuf,
    info: TakeInfo,
    layout: SlotLayout,
    /// In this order: the input, the stems, the click, the mix.
    wavs: Vec<WavFile>,
    /// The band's mix is limited already; with the musician in it, it is limited once more.
    limiter: Limiter,
    tokens: TokenFile,
    requests: File,
    tempos: Vec<TempoChange>,
    overview: Overview,
    samples: u64,
    /// Samples that readers see.
    synced: u64,
}

impl TakeWriter {
    /// Starts a take in `dir`, which is created if it is missing. `page`: it gets a page when it is closed.
    ///
    /// # Errors
    /// A file can't be created.
    pub fn create(dir: &Path, info: &TakeInfo, streams: usize, page: bool) -> Result<TakeWriter> {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let names = wav_names(&info.stems);
        let last = names.len() - 1;
        let wav = |(n, name): (usize, &String)| WavFile::create(&dir.join(name), if n == last { 2 } else { 1 });
        let wavs = names.iter().enumerate().map(wav).collect::<Result<_>>()?;
        let config = &info.config;
        let events = dir.join("events.jsonl");
        let take = TakeWriter {
            dir: dir.to_owned(),
            info: info.clone(),
            layout: SlotLayout::new(info.stems.len()),
            wavs,
            limiter: Limiter::default(),
            tokens: TokenFile::create(&dir.join("tokens.safetensors"), streams, info.from / FRAME as i64)?,
            requests: File::create(&events).map_err(Error::io(&events))?,
            tempos: vec![TempoChange { at: config.bar1 - info.from, tempo: config.tempo, meter: config.meter }],
            overview: Overview::new(info, page),
            samples: 0,
            synced: 0,
        };
        take.write_info()?;
        Ok(take)
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Samples written.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Adds rows: the musician's sample as recorded, and the band's slot. `input_stem`: the stem whose file
    /// gets the musician too.
    ///
    /// # Errors
    /// The disk is full, or gone.
    pub fn rows(&mut self, rows: &[f32], input_stem: Option<u8>) -> Result<()> {
        let layout = self.layout;
        for row in rows.chunks_exact(row_width(layout)) {
            let (input, slot) = (row[0], &row[1..]);
            let mix = self.limiter.limit([slot[layout.left()] + input, slot[layout.right()] + input]);
            let [input_wav, stem_wavs @ .., click_wav, mix_wav] = &mut self.wavs[..] else {
                unreachable!("input, click and mix")
            };
            input_wav.write(input)?;
            for (s, wav) in stem_wavs.iter_mut().enumerate() {
                let x = if input_stem == Some(s as u8) { slot[s] + input } else { slot[s] };
                wav.write(x)?;
                self.overview.sample(s, x);
            }
            click_wav.write(slot[layout.click()])?;
            mix.into_iter().try_for_each(|x| mix_wav.write(x))?;
            self.samples += 1;
        }
        if self.samples - self.synced >= SYNC { self.sync() } else { Ok(()) }
    }

    /// Adds the tokens of frames that follow the last ones, all streams of a frame after another.
    ///
    /// # Errors
    /// The disk is full, or gone.
    pub fn tokens(&mut self, tokens: &[i32]) -> Result<()> {
        self.tokens.add(tokens)
    }

    /// Adds a request.
    ///
    /// # Errors
    /// The disk is full, or gone.
    pub fn event(&mut self, entry: &Entry) -> Result<()> {
        let path = self.dir.join("events.jsonl");
        let line = serde_json::to_string(entry).map_err(|e| Error::file(&path, e.to_string()))?;
        self.overview.event(entry);
        writeln!(self.requests, "{line}").map_err(Error::io(&path))
    }

    /// Adds what was in force after a hop.
    pub fn state(&mut self, state: &HopState) {
        self.tempo(state.at, state.tempo, state.meter);
        self.overview.state(state);
    }

    /// Adds a tempo and a meter that hold from song time `at` on, if they are new.
    fn tempo(&mut self, at: i64, tempo: f64, meter: Meter) {
        if self.tempos.last().is_none_or(|last| (last.tempo, last.meter) != (tempo, meter)) {
            self.tempos.push(TempoChange { at: (at - self.info.from).max(0), tempo, meter });
        }
    }

    /// Updates what readers see.
    fn sync(&mut self) -> Result<()> {
        self.wavs.iter_mut().try_for_each(WavFile::flush)?;
        self.synced = self.samples;
        Ok(())
    }

    /// Writes `take.json` and `tempo.mid`, whole.
    fn write_info(&self) -> Result<()> {
        let json = serde_json::to_vec_pretty(&self.info).map_err(|e| Error::file(&self.dir, e.to_string()))?;
        atomic::write(&self.dir.join("take.json"), &json)?;
        atomic::write(&self.dir.join("tempo.mid"), &midi_file(&self.tempos, &self.overview.markers()))
    }

    /// Closes the take.
    ///
    /// # Errors
    /// The disk is full, or gone; readers still see what they saw before.
    pub fn finish(mut self) -> Result<PathBuf> {
        self.sync()?;
        self.info.samples = self.samples;
        self.write_info()?;
        self.requests.sync_all().map_err(Error::io(&self.dir))?;
        self.wavs.into_iter().try_for_each(WavFile::finish)?;
        self.tokens.finish(u64::MAX)?;
        // Last, because the take is whole without them.
        self.overview.write(&self.dir, &self.info, self.samples)?;
        Ok(self.dir)
    }

    /// Ends the take where it was last whole, because nothing more can be written. Returns its length in
    /// samples. take.json says where it ended and why, if the disk has room for that.
    pub fn end_early(mut self, why: &str) -> u64 {
        let samples = self.synced;
        // Whatever of this fails, a take of this length can be read: headers count what was written before.
        let wavs = std::mem::take(&mut self.wavs);
        let cut = wavs.into_iter().map(|wav| wav.cut(samples)).filter(Result::is_err).count();
        self.info.samples = samples;
        self.info.ended = Some(why.to_owned());
        let written = self.write_info();
        let tokens = self.tokens.finish(u64::MAX);
        if cut > 0 || written.is_err() || tokens.is_err() {
            tracing::debug!("{}: not everything of the take could be closed", self.dir.display());
        }
        samples
    }
}
