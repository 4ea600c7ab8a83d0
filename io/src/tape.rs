//! The recorder's thread: it puts the musician and the band side by side in song time, keeps the last ten minutes of every session in
//! rolling files, and writes takes. The engine only sends; where the disk is slower than the music for longer than the queue is, hops
//! are lost to the take, counted and told, never to the ear.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use sideman_engine::Result;
use sideman_engine::audio::RATE;
use sideman_engine::model::FRAME;
use sideman_engine::task::Meter;

use crate::take::{Entry, Files, TakeInfo};

/// Pieces that may wait for the disk: 40 s of hops of 80 ms.
const QUEUE: usize = 512;
/// Length of one rolling file, in samples, and how many are kept: ten minutes and the one being written.
const SEGMENT: usize = 20 * RATE as usize;
/// See `SEGMENT`.
const SEGMENTS: usize = 31;

/// What the engine sends.
pub enum Piece {
    /// One hop.
    Hop {
        /// The musician's samples.
        heard: Vec<f32>,
        /// The band's slots (`crate::mix`), which follow the last ones.
        slots: Vec<f32>,
        /// The stem that the musician plays.
        input_stem: Option<u8>,
        /// Tokens of the frames that were decided, in order.
        tokens: Vec<i32>,
        /// Song time of the slots, tempo and meter there.
        tempo: (i64, f64, Meter),
    },
    /// A request was taken.
    Event(Entry),
    /// Begins a take in this folder.
    Begin(PathBuf),
    /// Ends it.
    End,
    /// Makes a take of the last ten minutes in this folder.
    Keep(PathBuf),
}

/// The engine's end.
pub struct Tape {
    queue: Option<SyncSender<Piece>>,
    said: Receiver<String>,
    thread: Option<JoinHandle<()>>,
    lost: u64,
}

impl Tape {
    /// Starts the recorder. `info` describes the session from its start; `roll`: the last ten minutes are kept.
    ///
    /// # Errors
    /// The system makes no thread.
    pub fn start(info: TakeInfo, streams: usize, roll: bool) -> std::io::Result<Tape> {
        let (queue, pieces) = sync_channel(QUEUE);
        let (say, said) = sync_channel(64);
        let controls = Recorder::new(info, streams, roll, say);
        let thread = std::thread::Builder::new().name("take".into()).spawn(move || controls.run(&pieces))?;
        Ok(Tape { queue: Some(queue), said, thread: Some(thread), lost: 0 })
    }

    /// Sends a piece. Waits only where `patient` (files: nothing may be lost); gives false where it was lost.
    pub fn send(&mut self, piece: Piece, patient: bool) -> bool {
        let Some(queue) = &self.queue else { return false };
        let sent = match patient {
            true => queue.send(piece).is_ok(),
            false => !matches!(queue.try_send(piece), Err(TrySendError::Full(_) | TrySendError::Disconnected(_))),
        };
        self.lost += u64::from(!sent);
        sent
    }

    /// What the recorder has to say.
    pub fn said(&self) -> Option<String> {
        self.said.try_recv().ok()
    }

    /// Pieces lost so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Ends the take, waits until it is on disk, and gives what was said meanwhile.
    pub fn finish(mut self) -> Vec<String> {
        self.queue = None;
        let mut said = Vec::new();
        // The recorder hangs up when it is done.
        said.extend(self.said.iter());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        said
    }
}

/// The recorder's own.
struct Recorder {
    info: TakeInfo,
    streams: usize,
    say: SyncSender<String>,
    /// Samples of the musician and slots of the band that wait for each other.
    heard: VecDeque<f32>,
    model: VecDeque<f32>,
    /// Slots before song time 0, which no take holds.
    drop: usize,
    take: Option<Files>,
    roll: Option<Roll>,
    events: Vec<Entry>,
    /// Song time written, and frames of tokens.
    at: i64,
    /// Tokens of the last ten minutes.
    tokens: VecDeque<i32>,
    first_frame: i64,
    rows: Vec<f32>,
}

impl Recorder {
    fn new(info: TakeInfo, streams: usize, roll: bool, say: SyncSender<String>) -> Self {
        let roll = match roll.then(|| Roll::new(info.stems.len() + 4)).transpose() {
            Ok(roll) => roll,
            Err(e) => {
                let _ = say.try_send(format!("the last ten minutes are not kept: {e}"));
                None
            }
        };
        Recorder {
            drop: usize::try_from(-info.lead).unwrap_or(0),
            info,
            streams,
            say,
            heard: VecDeque::new(),
            model: VecDeque::new(),
            take: None,
            roll,
            events: Vec::new(),
            at: 0,
            tokens: VecDeque::new(),
            first_frame: 0,
            rows: Vec::new(),
        }
    }

    fn tell(&self, what: String) {
        let _ = self.say.try_send(what);
    }

    fn run(mut self, pieces: &Receiver<Piece>) {
        for piece in pieces {
            match piece {
                Piece::Hop { heard, slots, input_stem, tokens, tempo } => self.hop(&heard, &slots, input_stem, &tokens, tempo),
                Piece::Event(entry) => {
                    self.write(|take| take.event(&entry));
                    self.events.push(entry);
                }
                Piece::Begin(dir) => self.begin(&dir),
                Piece::End => self.end(),
                Piece::Keep(dir) => match self.keep(&dir) {
                    Ok(samples) => self.tell(format!("{}: the last {:.0} s are kept", dir.display(), seconds(samples))),
                    Err(e) => self.tell(format!("the last ten minutes could not be kept: {e}")),
                },
            }
        }
        // Where the band comes late, what it had to say to the end is silence.
        let c = self.info.stems.len() + 3;
        self.model.resize(self.model.len().max(self.heard.len() * c), 0.0);
        self.pour(None);
        self.end();
    }

    fn hop(
        &mut self,
        heard: &[f32],
        slots: &[f32],
        input_stem: Option<u8>,
        tokens: &[i32],
        (at, tempo, meter): (i64, f64, Meter),
    ) {
        let c = self.info.stems.len() + 3;
        let early = self.drop.min(slots.len() / c);
        self.drop -= early;
        self.model.extend(&slots[early * c..]);
        self.heard.extend(heard);
        self.pour(input_stem);
        self.tokens.extend(tokens);
        let most = SEGMENTS * SEGMENT / FRAME * self.streams;
        while self.tokens.len() > most {
            self.tokens.drain(..self.streams);
            self.first_frame += 1;
        }
        self.write(|take| {
            take.tempo(at, tempo, meter);
            take.tokens(tokens)
        });
    }

    /// Writes all rows of which both sides are there.
    fn pour(&mut self, input_stem: Option<u8>) {
        let c = self.info.stems.len() + 3;
        let n = self.heard.len().min(self.model.len() / c);
        let mut rows = std::mem::take(&mut self.rows);
        rows.clear();
        for (heard, slot) in self.heard.drain(..n).zip(0..n) {
            rows.push(heard);
            rows.extend(self.model.range(slot * c..(slot + 1) * c));
        }
        self.model.drain(..n * c);
        self.at += n as i64;
        self.write(|take| take.rows(&rows, input_stem));
        if let Some(Err(e)) = self.roll.as_mut().map(|roll| roll.rows(&rows, input_stem)) {
            self.tell(format!("the last ten minutes are no longer kept: {e}"));
            self.roll = None;
        }
        self.rows = rows;
    }

    /// Does something to the take; where that fails, the take ends as it is and the music goes on.
    fn write(&mut self, what: impl FnOnce(&mut Files) -> Result<()>) {
        if let Some(take) = &mut self.take
            && let Err(e) = what(take)
        {
            let (dir, length) = (take.dir().display().to_string(), seconds(take.samples()));
            self.take = None;
            self.tell(format!("recording has stopped: {e}; {dir} holds the first {length:.0} s, and the band plays on"));
        }
    }

    fn begin(&mut self, dir: &Path) {
        self.end();
        let info = TakeInfo { from: self.at, ..self.info.clone() };
        match Files::create(dir, &info, self.streams) {
            Ok(files) => self.take = Some(files),
            Err(e) => return self.tell(format!("nothing is recorded: {e}")),
        }
        // What was decided ahead is part of it.
        let skip = (self.at / FRAME as i64 - self.first_frame).max(0) as usize * self.streams;
        let tokens: Vec<i32> = self.tokens.iter().skip(skip).copied().collect();
        self.write(|take| take.tokens(&tokens));
    }

    fn end(&mut self) {
        if let Some(take) = self.take.take() {
            let length = seconds(take.samples());
            match take.finish() {
                Ok(dir) => self.tell(format!("{}: {length:.1} s recorded", dir.display())),
                Err(e) => self.tell(format!("the take could not be closed, but can be read: {e}")),
            }
        }
    }

    /// Makes a take of what is kept; gives its length.
    fn keep(&mut self, dir: &Path) -> Result<u64> {
        let Some(roll) = &mut self.roll else {
            return Err(sideman_engine::Error::Input("they are not kept in this session".into()));
        };
        let from = self.at - roll.samples() as i64;
        let mut files = Files::create(dir, &TakeInfo { from, ..self.info.clone() }, self.streams)?;
        roll.read(|rows, input_stem| files.rows(rows, input_stem))?;
        self.events.iter().filter(|e| e.at >= from).try_for_each(|e| files.event(e))?;
        let skip = (from / FRAME as i64 - self.first_frame).max(0) as usize * self.streams;
        let tokens: Vec<i32> = self.tokens.iter().skip(skip).copied().collect();
        files.tokens(&tokens)?;
        let samples = files.samples();
        files.finish()?;
        Ok(samples)
    }
}

fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(RATE)
}

/// The last ten minutes: rows in files of 20 s that are deleted one by one, in a folder that goes with the session.
struct Roll {
    dir: PathBuf,
    width: usize,
    /// Number, rows, and the player's stem at its start.
    segments: VecDeque<(u64, usize, Option<u8>)>,
    file: Option<File>,
}

impl Roll {
    fn new(width: usize) -> std::io::Result<Roll> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sideman-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(Roll { dir, width, segments: VecDeque::new(), file: None })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:06}.f32"))
    }

    fn samples(&self) -> usize {
        self.segments.iter().map(|s| s.1).sum()
    }

    fn rows(&mut self, rows: &[f32], input_stem: Option<u8>) -> std::io::Result<()> {
        let last = self.segments.back().copied();
        if last.is_none_or(|(_, n, p)| n >= SEGMENT || p != input_stem) {
            let number = last.map_or(0, |(n, _, _)| n + 1);
            self.file = Some(File::create(self.path(number))?);
            self.segments.push_back((number, 0, input_stem));
            while self.segments.len() > SEGMENTS {
                if let Some((old, _, _)) = self.segments.pop_front() {
                    std::fs::remove_file(self.path(old))?;
                }
            }
        }
        let bytes: Vec<u8> = rows.iter().flat_map(|x| x.to_le_bytes()).collect();
        if let (Some(file), Some(segment)) = (&mut self.file, self.segments.back_mut()) {
            file.write_all(&bytes)?;
            segment.1 += rows.len() / self.width;
        }
        Ok(())
    }

    fn read(&mut self, mut each: impl FnMut(&[f32], Option<u8>) -> Result<()>) -> Result<()> {
        for (number, _, input_stem) in &self.segments {
            let path = self.path(*number);
            let mut bytes = Vec::new();
            File::open(&path).and_then(|mut f| f.read_to_end(&mut bytes)).map_err(sideman_engine::Error::io(&path))?;
            let rows: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            each(&rows, *input_stem)?;
        }
        Ok(())
    }
}

impl Drop for Roll {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::take::{self, tests::info};

    fn hop(at: usize, n: usize) -> Piece {
        // The slots lead by 1280 samples; each says its own song time on every channel.
        let slots: Vec<f32> = (at + 1280..at + n + 1280).flat_map(|t| [t as f32; 5]).collect();
        Piece::Hop {
            heard: (at..at + n).map(|t| t as f32).collect(),
            slots,
            input_stem: Some(0),
            tokens: vec![1; n / FRAME * 2],
            tempo: (at as i64, 120.0, Meter::FourFour),
        }
    }

    fn wav(dir: &Path, name: &str) -> Vec<f32> {
        hound::WavReader::open(dir.join(name)).unwrap().into_samples().map(std::result::Result::unwrap).collect()
    }

    #[test]
    fn musician_and_band_stand_side_by_side() {
        let dir = tempfile::tempdir().unwrap();
        let (whole, kept) = (dir.path().join("whole"), dir.path().join("kept"));
        let mut tape = Tape::start(info(), 2, true).unwrap();
        tape.send(Piece::Begin(whole.clone()), true);
        let first: Vec<f32> = (0..1280).flat_map(|t| [t as f32; 5]).collect();
        let (tokens, tempo) = (vec![1; 4], (0, 120.0, Meter::FourFour));
        tape.send(Piece::Hop { heard: Vec::new(), slots: first, input_stem: Some(0), tokens, tempo }, true);
        for at in (0..64_000).step_by(2560) {
            tape.send(hop(at, 2560), true);
        }
        tape.send(Piece::Keep(kept.clone()), true);
        tape.send(hop(64_000, 640), true);
        let said = tape.finish();
        assert!(said.iter().any(|s| s.contains("2 s are kept")) && said.iter().any(|s| s.contains("recorded")), "{said:?}");
        let want = |n: usize| (0..n).map(|t| t as f32).collect::<Vec<f32>>();
        for (dir, n) in [(&whole, 64_640), (&kept, 64_000)] {
            for name in ["input.wav", "drums.wav", "click.wav"] {
                assert_eq!(wav(dir, name), want(n), "{name}");
            }
            assert_eq!(take::read(dir).unwrap().info.samples, n as u64);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_is_told_and_the_recorder_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let mut tape = Tape::start(info(), 2, false).unwrap();
        tape.send(Piece::Begin(dir.path().join("file/take")), true);
        tape.send(hop(0, 640), true);
        tape.send(Piece::Begin(dir.path().join("take")), true);
        tape.send(hop(640, 640), true);
        let said = tape.finish();
        assert!(said[0].starts_with("nothing is recorded"), "{said:?}");
        assert!(dir.path().join("take/mix.wav").exists());
    }
}
