//! A take: one session on disk, as a DAW and `sideman replay` want it. WAVs of 32-bit float at 32 kHz, of equal length from sample 0 of the
//! take; the file of the stem that the musician plays holds their playing. A reader of a take whose program was killed sees everything
//! up to half a second before: headers are brought up to date that often, and every file grows only at its end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sideman_engine::audio::RATE;
use sideman_engine::live::commands::Owner;
use sideman_engine::live::{Command, Request, SessionConfig};
use sideman_engine::model::FRAME;
use sideman_engine::task::Meter;
use sideman_engine::{Error, Result};
use sideman_kernels::Format;

use crate::mix::Limiter;

/// Samples between two times that headers are brought up to date.
const SYNC: usize = RATE as usize / 2;
/// Bytes of the header of `tokens.safetensors`, padded by spaces.
const HEADER: usize = 248;

/// Contents of `take.json`: all that is needed to play the session again.
///
/// In the file the fields of `config` stand beside the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TakeInfo {
    /// Version of the program that recorded the take.
    pub version: String,
    /// Model directory.
    pub model: PathBuf,
    /// SHA-256 of what is in the model directory ([`model_hash`]).
    pub model_sha256: String,
    /// Precision of the weights in memory. A name that is not known is an error: with another precision the replay would differ.
    #[serde(with = "PrecisionName")]
    pub precision: Format,
    /// The model's stems, in its order.
    pub stems: Vec<String>,
    /// Lead of the session, in samples at 32 kHz ([`sideman_engine::live::Session::lead`]).
    pub lead: i64,
    /// The devices that were played on, in words.
    pub devices: String,
    /// Input latency in ms.
    pub latency_in: f32,
    /// Output latency in ms.
    pub latency_out: f32,
    /// Song time of the take's first sample. Only a take from 0 can be replayed.
    pub from: i64,
    /// Length in samples. 0: the program was killed, and the length is that of the files.
    pub samples: u64,
    /// The settings that the session started with.
    #[serde(flatten)]
    pub config: SessionConfig,
}

/// Names of [`Format`] in `take.json`.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Format", rename_all = "lowercase")]
enum PrecisionName {
    F32,
    Bf16,
    Q8,
    Q4,
}

/// One line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Song time of the hop before which it was taken.
    pub at: i64,
    /// As it was taken.
    pub request: Request,
}

/// SHA-256 of a model directory: names and contents of its JSON and safetensors files, by name.
///
/// # Errors
/// A file can't be read.
pub fn model_hash(dir: &Path) -> Result<String> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(dir).map_err(Error::io(dir))?.flatten().map(|e| e.path()).collect();
    names.retain(|p| p.extension().is_some_and(|e| e == "json" || e == "safetensors"));
    names.sort();
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    for path in names {
        hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        let mut file = File::open(&path).map_err(Error::io(&path))?;
        loop {
            let n = file.read(&mut piece).map_err(Error::io(&path))?;
            if n == 0 {
                break;
            }
            hash.update(&piece[..n]);
        }
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// A take that is being written.
pub struct Files {
    dir: PathBuf,
    info: TakeInfo,
    wavs: Vec<(PathBuf, hound::WavWriter<BufWriter<File>>)>,
    /// The band's mix is limited already; with the musician in it the sum is once more.
    limiter: Limiter,
    tokens: File,
    events: File,
    tempos: Vec<(i64, f64, Meter)>,
    streams: usize,
    frames: u64,
    samples: u64,
    unsynced: usize,
}

impl Files {
    /// Begins one in `dir`, which is made if need be.
    ///
    /// # Errors
    /// The file that can't be made.
    pub fn create(dir: &Path, info: &TakeInfo, streams: usize) -> Result<Files> {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let names = ["input"].into_iter().chain(info.stems.iter().map(String::as_str)).chain(["click", "mix"]);
        let mut wavs = Vec::new();
        for name in names {
            let path = dir.join(format!("{name}.wav"));
            let channels = if name == "mix" { 2 } else { 1 };
            let spec =
                hound::WavSpec { channels, sample_rate: RATE, bits_per_sample: 32, sample_format: hound::SampleFormat::Float };
            let mut wav = hound::WavWriter::create(&path, spec).map_err(|e| wrong(&path, e))?;
            wav.flush().map_err(|e| wrong(&path, e))?;
            wavs.push((path, wav));
        }
        let make = |name: &str| File::create(dir.join(name)).map_err(Error::io(&dir.join(name)));
        let mut files = Files {
            dir: dir.to_owned(),
            info: info.clone(),
            wavs,
            limiter: Limiter::default(),
            tokens: make("tokens.safetensors")?,
            events: make("events.jsonl")?,
            tempos: vec![(info.config.bar1 - info.from, info.config.tempo, info.config.meter)],
            streams,
            frames: 0,
            samples: 0,
            unsynced: 0,
        };
        files.head()?;
        files.about()?;
        Ok(files)
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Samples written.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Adds rows of `input_stem, stem 1 … n, click, left, right`: the musician as recorded, the band as mixed, and both in the mix.
    ///
    /// # Errors
    /// The disk is full, or gone.
    pub fn rows(&mut self, rows: &[f32], plays: Option<u8>) -> Result<()> {
        let stems = self.info.stems.len();
        for row in rows.chunks_exact(stems + 4) {
            let input = row[0];
            let mix = self.limiter.hold([row[stems + 2] + input, row[stems + 3] + input]);
            for (n, (path, wav)) in self.wavs.iter_mut().enumerate() {
                let mut put = |x: f32| wav.write_sample(x).map_err(|e| wrong(path, e));
                match n {
                    0 => put(input)?,
                    n if n <= stems => put(if plays == Some((n - 1) as u8) { row[n] + input } else { row[n] })?,
                    n if n == stems + 1 => put(row[n])?,
                    _ => mix.into_iter().try_for_each(&mut put)?,
                }
            }
            self.samples += 1;
        }
        self.unsynced += rows.len() / (stems + 4);
        if self.unsynced >= SYNC {
            self.sync()?;
        }
        Ok(())
    }

    /// Adds the tokens of frames that follow the last ones, all streams of a frame after another.
    ///
    /// # Errors
    /// The disk is full, or gone.
    pub fn tokens(&mut self, tokens: &[i32]) -> Result<()> {
        let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
        self.tokens.write_all(&bytes).map_err(Error::io(&self.dir.join("tokens.safetensors")))?;
        self.frames += (tokens.len() / self.streams) as u64;
        Ok(())
    }

    /// Adds a request.
    ///
    /// # Errors
    /// The disk is full, or gone.
    pub fn event(&mut self, entry: &Entry) -> Result<()> {
        let path = self.dir.join("events.jsonl");
        let line = serde_json::to_string(entry).map_err(|e| Error::file(&path, e.to_string()))?;
        writeln!(self.events, "{line}").map_err(Error::io(&path))
    }

    /// Notes a tempo that came into force at song time `at`.
    pub fn tempo(&mut self, at: i64, tempo: f64, meter: Meter) {
        if self.tempos.last().is_none_or(|(_, t, m)| (*t, *m) != (tempo, meter)) {
            self.tempos.push(((at - self.info.from).max(0), tempo, meter));
        }
    }

    /// Brings what readers see up to date.
    fn sync(&mut self) -> Result<()> {
        self.unsynced = 0;
        self.wavs.iter_mut().try_for_each(|(path, wav)| wav.flush().map_err(|e| wrong(path, e)))?;
        self.head()
    }

    /// The header of the tokens.
    fn head(&mut self) -> Result<()> {
        let bytes = self.frames * self.streams as u64 * 4;
        let mut json = format!(
            r#"{{"tokens":{{"dtype":"I32","shape":[{},{}],"data_offsets":[0,{bytes}]}},"__metadata__":{{"first_frame":"{}"}}}}"#,
            self.frames,
            self.streams,
            self.info.from / FRAME as i64
        );
        json.extend(std::iter::repeat_n(' ', HEADER.saturating_sub(json.len())));
        let mut write = || -> std::io::Result<()> {
            self.tokens.seek(SeekFrom::Start(0))?;
            self.tokens.write_all(&(HEADER as u64).to_le_bytes())?;
            self.tokens.write_all(json.as_bytes())?;
            self.tokens.seek(SeekFrom::End(0)).map(drop)
        };
        write().map_err(Error::io(&self.dir.join("tokens.safetensors")))
    }

    /// Writes `take.json` and `tempo.mid`.
    fn about(&self) -> Result<()> {
        let json = serde_json::to_vec_pretty(&self.info).map_err(|e| Error::file(&self.dir, e.to_string()))?;
        for (name, bytes) in [("take.json", json), ("tempo.mid", tempo_map(&self.tempos))] {
            let (path, part) = (self.dir.join(name), self.dir.join(format!(".{name}.part")));
            std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, &path)).map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    /// The disk is full, or gone; what readers saw before, they see still.
    pub fn finish(mut self) -> Result<PathBuf> {
        self.sync()?;
        self.info.samples = self.samples;
        self.about()?;
        for (path, wav) in self.wavs {
            wav.finalize().map_err(|e| wrong(&path, e))?;
        }
        Ok(self.dir)
    }
}

fn wrong(path: &Path, e: hound::Error) -> Error {
    match e {
        hound::Error::IoError(source) => Error::Io { path: path.to_owned(), source },
        other => Error::file(path, other.to_string()),
    }
}

/// A standard MIDI file of tempos and meters, for a DAW's tempo track: 960 ticks a quarter. Tempos are (samples, quarters a minute, meter).
fn tempo_map(tempos: &[(i64, f64, Meter)]) -> Vec<u8> {
    use midly::{Format, Header, MetaMessage, Smf, Timing, Track, TrackEvent, TrackEventKind};
    let mut track = Track::new();
    let (mut before, mut rest, mut bpm) = (0i64, 0.0f64, tempos.first().map_or(120.0, |t| t.1));
    for (at, tempo, meter) in tempos {
        let at = (*at).max(0);
        let ticks = (at - before) as f64 / f64::from(RATE) * bpm / 60.0 * 960.0 + rest;
        let delta = ticks.round().clamp(0.0, f64::from(0x0fff_ffffu32)) as u32;
        (before, rest, bpm) = (at, ticks - f64::from(delta), *tempo);
        let (n, d) = match meter {
            Meter::FourFour => (4, 2),
            Meter::ThreeFour => (3, 2),
            Meter::SixEight => (6, 3),
            Meter::TwelveEight => (12, 3),
        };
        let micros = (60e6 / tempo.clamp(4.0, 1e4)).round() as u32;
        let meta = |delta: u32, meta| TrackEvent { delta: delta.into(), kind: TrackEventKind::Meta(meta) };
        track.push(meta(delta, MetaMessage::Tempo(micros.into())));
        track.push(meta(0, MetaMessage::TimeSignature(n, d, 24, 8)));
    }
    track.push(TrackEvent { delta: 0.into(), kind: TrackEventKind::Meta(MetaMessage::EndOfTrack) });
    let smf = Smf { header: Header::new(Format::SingleTrack, Timing::Metrical(960.into())), tracks: vec![track] };
    let mut bytes = Vec::new();
    // Into memory: nothing can go wrong but the length of a track, and tempos are few.
    let _ = smf.write(&mut bytes);
    bytes
}

/// What is needed to replay a take.
pub struct Recorded {
    /// `take.json`.
    pub info: TakeInfo,
    /// The musician's samples.
    pub input: Vec<f32>,
    /// `events.jsonl`, in order.
    pub events: VecDeque<Entry>,
}

/// Reads a take; one whose program was killed, too.
///
/// # Errors
/// The file at fault.
pub fn read(dir: &Path) -> Result<Recorded> {
    let path = dir.join("take.json");
    let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
    let info: TakeInfo = serde_json::from_slice(&bytes).map_err(|e| Error::file(&path, format!("not a take: {e}")))?;
    // Takes of version 0.1.0 call it player.wav.
    let path = ["input.wav", "player.wav"].map(|name| dir.join(name)).into_iter().find(|path| path.exists());
    let path = path.unwrap_or_else(|| dir.join("input.wav"));
    let wav = hound::WavReader::open(&path).map_err(|e| wrong(&path, e))?;
    let is = wav.spec();
    if (is.channels, is.sample_rate, is.sample_format) != (1, RATE, hound::SampleFormat::Float) {
        return Err(Error::file(&path, format!("not a take's: it must be mono float at {RATE} Hz")));
    }
    let input = wav.into_samples::<f32>().map_while(|x| x.ok()).collect();
    let path = dir.join("events.jsonl");
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    let mut events = VecDeque::new();
    for (n, line) in text.split_inclusive('\n').enumerate() {
        match serde_json::from_str::<Entry>(line) {
            Ok(entry) => events.push_back(entry),
            // The last line of a program that was killed.
            Err(_) if !line.ends_with('\n') => break,
            Err(e) => return Err(Error::file(&path, format!("line {}: {e}", n + 1))),
        }
    }
    Ok(Recorded { info, input, events })
}

/// Whether a command changes nothing that is heard: a replay leaves it out.
pub fn silent(command: &Command) -> bool {
    match command.kind().spec().owner {
        Owner::Runner | Owner::MidiMapper => true,
        Owner::Session | Owner::TextEncoder => false,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use sideman_engine::live::Clock;

    use super::*;

    pub(crate) fn info() -> TakeInfo {
        TakeInfo {
            version: "0".into(),
            model: "m".into(),
            model_sha256: String::new(),
            precision: Format::Bf16,
            stems: ["bass", "drums"].map(str::to_owned).to_vec(),
            lead: 1280,
            devices: String::new(),
            latency_in: 0.0,
            latency_out: 0.0,
            from: 0,
            samples: 0,
            config: SessionConfig { seed: 7, ..SessionConfig::default() },
        }
    }

    /// `take.json` as version 0.1.0 wrote it.
    const OLD: &str = r#"{
        "version": "0.1.0", "model": "models/house", "model_sha256": "59609b8d", "precision": "q8", "stems": ["bass", "drums", "other"],
        "player": 1, "lag": 9, "lead": 1696, "tempo": 100.5, "meter": "6/8", "bar1": 16000, "chords": "Em7 A7", "count_in": 2,
        "playing": false, "click": true, "clock": "midi", "text": "funk", "text_room": 64, "guided": true, "temperature": 0.8,
        "top_k": 100, "top_p": 0.25, "cfg": 2.5, "seed": 18446744073709551615, "block": 8, "devices": "examples/funk.flac",
        "latency_in": 1.5, "latency_out": 2.5, "from": 640, "samples": 640000 }"#;

    #[test]
    fn a_take_of_the_first_version_is_read_in_full() {
        let config = SessionConfig {
            input_stem: Some(1),
            lag: 9,
            tempo: 100.5,
            meter: Meter::SixEight,
            bar1: 16_000,
            chords: Some("Em7 A7".into()),
            count_in: 2,
            playing: false,
            click: true,
            clock: Clock::Midi,
            text: "funk".into(),
            text_room: 64,
            guided: true,
            temperature: 0.8,
            top_k: 100,
            top_p: 0.25,
            cfg_scale: 2.5,
            seed: u64::MAX,
            block: 8,
        };
        let info = TakeInfo {
            version: "0.1.0".into(),
            model: "models/house".into(),
            model_sha256: "59609b8d".into(),
            precision: Format::Q8,
            stems: ["bass", "drums", "other"].map(str::to_owned).to_vec(),
            lead: 1696,
            devices: "examples/funk.flac".into(),
            latency_in: 1.5,
            latency_out: 2.5,
            from: 640,
            samples: 640_000,
            config,
        };
        assert_eq!(serde_json::from_str::<TakeInfo>(OLD).unwrap(), info);
        let new = serde_json::to_string(&info).unwrap();
        assert_eq!(serde_json::from_str::<TakeInfo>(&new).unwrap(), info);
    }

    #[test]
    fn a_precision_that_is_not_known_is_an_error() {
        let take = OLD.replace("q8", "q5");
        assert!(serde_json::from_str::<TakeInfo>(&take).is_err());
    }

    #[test]
    fn a_take_without_one_of_its_settings_is_an_error() {
        let serde_json::Value::Object(whole) = serde_json::from_str(OLD).unwrap() else { panic!("an object") };
        // An option that is missing is none.
        for field in whole.keys().filter(|field| !["player", "chords"].contains(&field.as_str())) {
            let mut part = whole.clone();
            part.remove(field);
            assert!(serde_json::from_value::<TakeInfo>(part.into()).is_err(), "{field}");
        }
    }

    fn samples(path: &Path) -> Vec<f32> {
        hound::WavReader::open(path).unwrap().into_samples().map(Result::unwrap).collect()
    }

    #[test]
    fn what_was_written_can_be_read_and_a_killed_program_loses_half_a_second() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::create(dir.path(), &info(), 2).unwrap();
        // Soft enough that the mix is not limited, and exact.
        let level = |n: usize| n as f32 / 131_072.0;
        let row = |n: usize| [level(n), 0.0, 0.5, 0.25, 0.125, 0.0625];
        let entry = Entry { at: 640, request: Request { command: Command::Seed(3), when: None, from: 2 } };
        files.event(&entry).unwrap();
        for second in 0..3 {
            let rows: Vec<f32> = (second * 32_000..(second + 1) * 32_000).flat_map(row).collect();
            files.rows(&rows, Some(0)).unwrap();
            files.tokens(&[second as i32; 100]).unwrap();
        }
        files.rows(&row(7), Some(0)).unwrap();
        files.tempo(64_000, 90.0, Meter::ThreeFour);
        // As kill -9 leaves it: nothing is finished, nothing dropped.
        let killed = read(dir.path()).unwrap();
        assert_eq!(killed.input.len(), 96_000);
        assert_eq!((killed.input[777], killed.events[0].clone(), killed.info.samples), (level(777), entry.clone(), 0));
        std::fs::OpenOptions::new().append(true).open(dir.path().join("events.jsonl")).unwrap().write_all(b"{\"at\": 1").unwrap();
        assert_eq!(read(dir.path()).unwrap().events.len(), 1, "half a line is the killed program's");
        files.finish().unwrap();
        let whole = read(dir.path()).unwrap();
        assert_eq!((whole.input.len(), whole.info.samples), (96_001, 96_001));
        assert_eq!(samples(&dir.path().join("bass.wav"))[777], level(777), "the stem that they play is the musician's");
        assert_eq!(samples(&dir.path().join("drums.wav"))[777], 0.5);
        assert_eq!(samples(&dir.path().join("mix.wav"))[2 * 777..2 * 778], [level(777) + 0.125, level(777) + 0.0625]);
        let tokens = std::fs::read(dir.path().join("tokens.safetensors")).unwrap();
        assert_eq!(tokens.len(), 8 + HEADER + 1200);
        let head: serde_json::Value = serde_json::from_slice(&tokens[8..8 + HEADER]).unwrap();
        assert_eq!(head["tokens"]["shape"], serde_json::json!([150, 2]));
        let midi = std::fs::read(dir.path().join("tempo.mid")).unwrap();
        let smf = midly::Smf::parse(&midi).unwrap();
        assert_eq!(smf.tracks[0][2].delta.as_int(), 2 * 2 * 960, "2 s at 120");
    }

    #[test]
    fn a_loud_musician_and_a_loud_band_do_not_clip_their_mix() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::create(dir.path(), &info(), 2).unwrap();
        let rows: Vec<f32> = (0..32_000).flat_map(|n| [if n < 100 { 0.9 } else { 0.1 }, 0.0, 0.7, 0.0, 0.7, -0.7]).collect();
        files.rows(&rows, Some(0)).unwrap();
        files.finish().unwrap();
        let mix = samples(&dir.path().join("mix.wav"));
        assert!(mix.iter().all(|x| x.abs() <= 0.966 + 1e-6), "{:?}", mix.iter().cloned().fold(0.0, f32::max));
        assert_eq!(samples(&dir.path().join("input.wav"))[0], 0.9, "the stems are as they were played");
        assert!((mix[2 * 31_000] - 0.8).abs() < 0.01, "it lets go: {}", mix[2 * 31_000]);
    }

    #[test]
    fn a_full_disk_is_told_and_what_was_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join("click.wav")).unwrap();
        let error = Files::create(dir.path(), &info(), 2).err().expect("no room").to_string();
        assert!(error.contains("click.wav") && error.contains("space"), "{error}");
    }

    #[test]
    fn what_is_no_take_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).err().expect("none").to_string().contains("take.json"));
        Files::create(dir.path(), &info(), 2).unwrap().finish().unwrap();
        std::fs::write(dir.path().join("events.jsonl"), "nonsense\n").unwrap();
        assert!(read(dir.path()).err().expect("none").to_string().contains("line 1"));
    }
}
