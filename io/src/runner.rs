//! The engine's side of a session: requests between hops, the hop, the mix, the tape, the state to look at. It knows no device and no
//! thread of its own: [`crate::live`] runs it against devices, [`crate::device::file`] between files, and a replay from a take. All of
//! them give the same samples for the same playing and the same requests.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sideman_engine::limits::{HOP, MAX_HOP};
use sideman_engine::live::{Action, Clock, Command, Pending, Request, Session, SessionConfig, Snapshot, When, Which};
use sideman_engine::model::FRAME;
use sideman_engine::model::Model;
use sideman_engine::text::Hidden;
use sideman_engine::{Error, Result};
use sideman_kernels::Backend;
use sideman_kernels::cpu::CpuBackend;

use crate::clock::Taps;
use crate::control::{ControlReceiver, Event};
use crate::failover::{Failover, Slot, on_slot};
use crate::mix::{self, Mixer};
use crate::rt;
use crate::silence_watchdog::SilenceWatchdog;
use crate::take::{Entry, TakeInfo, silent};
use crate::tape::{Piece, Tape};
use crate::text_encoder_thread::TextEncoderThread;

/// Requests of ours that may wait for their bar.
const LATER: usize = 64;
/// Hops whose times are remembered.
const TIMES: usize = 256;

/// Why the band doesn't follow Link.
pub const NO_LINK: &str = "there is no Ableton Link to follow: it takes devices, and a build with --features link";

/// A band on its stand.
pub struct Runner<B: Backend> {
    failover: Failover<B>,
    /// Who takes over, and the text in force that it is told.
    standby: Option<Box<Slot<CpuBackend>>>,
    hidden: Option<Hidden>,
    /// The next hop may still grow a buffer.
    settles: bool,
    /// Names of the stems.
    stems: Vec<String>,
    streams: usize,
    controls: ControlReceiver,
    info: TakeInfo,
    snapshot: Snapshot,
    mixer: Mixer,
    words: Option<TextEncoderThread>,
    /// Requests whose text is being encoded.
    waiting: Option<Request>,
    text: String,
    /// Weighted parts of the text.
    parts: [(String, f32); 4],
    /// What is ours to do and waits for its bar; the bar that the last hop ended in.
    later: Vec<Request>,
    bar: i64,
    /// After the last hop the band is still, and its clock is Link.
    waits: bool,
    tape: Option<Tape>,
    takes: PathBuf,
    recording: bool,
    /// Song time at which the take began.
    begun: i64,
    /// Taps, in seconds since the runner was made.
    taps: Taps,
    made: Instant,
    /// Nothing may be lost and nothing depends on time: files and replays.
    patient: bool,
    hop: usize,
    times: Vec<f32>,
    sorted: Vec<f32>,
    hops: u64,
    silence: Vec<f32>,
    /// Wakes who has fallen silent; none in a replay, whose take says who was woken.
    pub silence_watchdog: Option<SilenceWatchdog>,
    /// Called before each hop; tests slow the band down by it.
    pub drag: Option<Box<dyn FnMut(i64) + Send>>,
}

/// Starts the session that `config` describes. Returns it with its text, encoded.
///
/// # Errors
/// Those of [`Session::new`], and a text for a model that takes none.
pub fn session<B: Backend>(
    backend: &mut B,
    model: &mut Model<B>,
    config: &SessionConfig,
) -> Result<(Session<B>, Option<Hidden>)> {
    let text = match (config.text.trim().is_empty(), &mut model.text) {
        (true, _) => None,
        (false, Some(text)) => Some(text.encode(&config.text)?),
        (false, None) => return Err(Error::Input(format!("the model {} takes no text", model.config().name))),
    };
    Ok((Session::new(backend, model, config, text.as_ref())?, text))
}

impl<B: Backend> Runner<B> {
    /// Puts a band on its stand; what it plays before it has heard anything is in [`Runner::slots`]. `patient`: it runs between files,
    /// where texts are waited for and nothing is lost. Takes asked for without a folder go below `takes`.
    ///
    /// # Errors
    /// Those of [`session`].
    pub fn new(
        mut backend: B,
        mut model: Model<B>,
        mut info: TakeInfo,
        controls: ControlReceiver,
        takes: PathBuf,
        patient: bool,
    ) -> Result<Self> {
        rt::quiet_denormals();
        let (session, hidden) = session(&mut backend, &mut model, &info.config)?;
        info.lead = session.lead();
        let stems = model.config().stems.len();
        let mut runner = Runner {
            words: model.text.take().map(TextEncoderThread::start),
            mixer: Mixer::new(stems, MAX_HOP + session.lead().unsigned_abs() as usize / FRAME + 1),
            silence: vec![0.0; MAX_HOP * FRAME],
            text: info.config.text.clone(),
            parts: Default::default(),
            later: Vec::new(),
            bar: i64::MIN,
            waits: false,
            hidden,
            settles: true,
            stems: model.config().stems.clone(),
            streams: model.config().streams.len(),
            failover: Failover::Primary(Box::new(Slot { backend, model, session })),
            standby: None,
            controls,
            info,
            snapshot: Snapshot::default(),
            waiting: None,
            tape: None,
            takes,
            recording: false,
            begun: 0,
            taps: Taps::default(),
            made: Instant::now(),
            patient,
            hop: 4,
            times: Vec::with_capacity(TIMES),
            sorted: Vec::with_capacity(TIMES),
            hops: 0,
            silence_watchdog: Some(SilenceWatchdog::new(stems)),
            drag: None,
        };
        let Runner { mixer, failover, .. } = &mut runner;
        on_slot!(failover, slot => mixer.add(|s| (slot.session.stem(s), slot.session.levels(s)), slot.session.click()));
        Ok(runner)
    }

    /// The processor takes over from a player that is lost ([`Backend::fault`]): at the next bar line that a model can be ready for, in phase.
    pub fn relieve_by(&mut self, standby: Slot<CpuBackend>) {
        self.standby = Some(Box::new(standby));
    }

    /// Starts the recorder: `dir`, a take from the start; `roll`, the last ten minutes are kept. Before the first hop.
    ///
    /// # Errors
    /// The system makes no thread.
    pub fn record(&mut self, dir: Option<PathBuf>, roll: bool) -> Result<()> {
        let tape = Tape::start(self.info.clone(), self.streams, roll);
        self.tape = Some(tape.map_err(|e| Error::Input(format!("no recorder: {e}")))?);
        self.recording = dir.is_some();
        if let Some(dir) = dir {
            self.send(Piece::Begin(dir));
        }
        self.tape_hop(&[]);
        Ok(())
    }

    /// What the session started with.
    pub fn info(&self) -> &TakeInfo {
        &self.info
    }

    /// The desk.
    pub fn controls(&self) -> &ControlReceiver {
        &self.controls
    }

    /// Song time heard, and by how much the band is ahead of it.
    pub fn time(&self) -> (i64, i64) {
        on_slot!(&self.failover, slot => (slot.session.heard_to(), slot.session.lead()))
    }

    /// Song time heard.
    fn heard_to(&self) -> i64 {
        self.time().0
    }

    /// Frames of a hop as asked for.
    pub fn hop_frames(&self) -> usize {
        self.hop
    }

    /// Length of a bar in samples where the band is now; 0 where there is no beat.
    pub fn bar(&self) -> f64 {
        let quarter = 60.0 / self.snapshot.tempo.max(1.0) * sideman_engine::audio::RATE as f64;
        match self.snapshot.clock {
            sideman_engine::live::Clock::Free => 0.0,
            _ => quarter * self.snapshot.meter.quarters() as f64,
        }
    }

    /// Slots that the last hop gave (`crate::mix`), at 32 kHz.
    pub fn slots(&self) -> &[f32] {
        self.mixer.slots()
    }

    /// The state, to be completed by who runs the band.
    pub fn snapshot(&mut self) -> &mut Snapshot {
        &mut self.snapshot
    }

    /// Guidance is in use: there is something to give up.
    pub fn guided(&self) -> bool {
        self.info.config.guided && on_slot!(&self.failover, slot => slot.session.leans())
    }

    /// One hop: `heard` is a whole number of frames, 1 to 25. The band's music goes on whatever happens: what can't be played is silence
    /// of the same length, and told.
    pub fn hop(&mut self, heard: &[f32]) {
        self.last_hop(heard, heard.len());
    }

    /// The same, of which only the first `real` samples are music: a take ends with them.
    pub fn last_hop(&mut self, heard: &[f32], real: usize) {
        let heard_to = self.heard_to();
        if let Some(drag) = &mut self.drag {
            drag(heard_to);
        }
        self.requests();
        let began = Instant::now();
        let Runner { failover, mixer, silence, settles, .. } = self;
        let played = on_slot!(failover, slot => {
            let Slot { backend, model, session } = &mut **slot;
            let mut play = || session.hop(backend, model, heard);
            // The first one may still grow a buffer.
            let played = if std::mem::take(settles) { play() } else { rt::no_alloc(play) };
            mixer.clear();
            match &played {
                Ok(()) => mixer.add(|s| (session.stem(s), session.levels(s)), session.click()),
                Err(_) => mixer.add(|_| (&silence[..heard.len()], &[]), &silence[..heard.len()]),
            };
            played
        });
        let took = began.elapsed();
        self.hops += 1;
        if let Err(e) = played {
            self.say(format!("the band is silent for a moment: {e}"));
        }
        self.relieve();
        self.look();
        self.silence_watchdog();
        self.tape_hop(&heard[..real.min(heard.len())]);
        self.measure(took, heard.len());
    }

    /// Changes over to the processor where the player is lost.
    fn relieve(&mut self) {
        let Some(why) = self.failover.fault().map(str::to_owned) else { return };
        let Some(standby) = self.standby.take() else { return };
        match self.failover.relieve(standby, self.hidden.as_ref()) {
            Ok(()) => self.say(format!("{why}: the processor takes over at the next bar it can be ready for")),
            Err(e) => self.say(format!("{why}, and the processor can't take over: {e}")),
        }
        self.settles = true;
    }

    /// Makes a stem anew that has fallen silent.
    fn silence_watchdog(&mut self) {
        let (bar, heard_to) = (self.bar(), self.heard_to());
        let Some(silence_watchdog) = &mut self.silence_watchdog else { return };
        for s in 0..self.snapshot.stems.len() {
            on_slot!(&self.failover, slot => silence_watchdog.hear(s, slot.session.stem(s), self.snapshot.time));
        }
        if let Some(s) = silence_watchdog.ask(heard_to, &self.snapshot, bar) {
            self.say(format!("{} had fallen silent and comes in again", self.stems[usize::from(s)]));
            self.request(Request { command: Command::Stem(Which::One(s), Action::Regen), when: None, from: 0 });
        }
    }

    /// The state as it is now, with what waits for its bar here.
    fn look(&mut self) {
        let Runner { failover, snapshot, later, .. } = self;
        on_slot!(failover, slot => slot.session.snapshot(snapshot));
        self.bar = snapshot.bar;
        self.waits = snapshot.clock == Clock::Link && !snapshot.playing;
        let bar = |r: &Request| match r.when {
            Some(When::AtBar(bar)) => on_slot!(&*failover, slot => slot.session.bar_at(bar)),
            _ => snapshot.time,
        };
        let waits: Vec<Pending> = later.iter().map(|r| Pending { command: r.command.clone(), at: bar(r) }).collect();
        snapshot.pending.extend(waits);
        snapshot.pending.sort_by_key(|p| p.at);
    }

    /// Takes requests and plays nothing until somebody asks for [`Command::Play`]: the session then begins at song time 0, with all that was
    /// asked for. False: it was ended first, or `stop` says so.
    pub fn wait_for_play(&mut self, stop: impl Fn() -> bool) -> bool {
        loop {
            while let Some(sent) = self.controls.take() {
                match sent.request.command {
                    Command::Play => return true,
                    Command::Tap => {}
                    _ => self.request(sent.request),
                }
            }
            if self.controls.ended() || stop() {
                return false;
            }
            self.texts();
            self.look();
            self.snapshot.playing = false;
            self.publish();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Times and faults into the state.
    fn measure(&mut self, took: Duration, samples: usize) {
        let ms = took.as_secs_f32() * 1e3;
        if self.times.len() < TIMES {
            self.times.push(ms);
        } else {
            self.times[self.hops as usize % TIMES] = ms;
        }
        self.sorted.clear();
        self.sorted.extend_from_slice(&self.times);
        self.sorted.sort_unstable_by(f32::total_cmp);
        let rank = |share: f32| self.sorted[((share * self.sorted.len() as f32) as usize).min(self.sorted.len() - 1)];
        let health = &mut self.snapshot.health;
        (health.p50, health.p99) = (rank(0.5), rank(0.99));
        let share = ms / (samples as f32 / sideman_engine::audio::RATE as f32 * 1e3);
        health.load += (share - health.load) * 0.1;
        if self.hops % 16 == 1 {
            let faults = on_slot!(&mut self.failover, slot => slot.session.faults(&mut slot.backend));
            if faults > self.snapshot.health.faults {
                self.say("the model gave no number where it should have: the likeliest notes were played".into());
            }
            self.snapshot.health.faults = faults;
        }
    }

    /// Shows the state. The one that comes back is older: what is counted stays with the newest.
    pub fn publish(&mut self) {
        self.snapshot.hop = self.hop as u32;
        self.snapshot.recording = self.recording;
        self.snapshot.recorded = if self.recording { self.heard_to() - self.begun } else { 0 };
        // A text that is being read waits like everything else.
        if let Some(waiting) = &self.waiting {
            self.snapshot.pending.push(Pending { command: waiting.command.clone(), at: self.snapshot.time });
        }
        self.snapshot.text.clone_from(&self.text);
        let health = self.snapshot.health.clone();
        self.controls.publish(&mut self.snapshot);
        self.snapshot.health = health;
    }

    /// Tells the musician something.
    pub fn say(&mut self, what: String) {
        tracing::info!("{what}");
        self.controls.tell(&Event::Said(what));
    }

    /// Takes all requests that wait.
    fn requests(&mut self) {
        let bar = self.bar;
        let due = |r: &mut Request| matches!(r.when, Some(When::AtBar(n)) if n <= bar);
        let due: Vec<Request> = self.later.extract_if(.., due).collect();
        due.into_iter().for_each(|request| self.request(request));
        while let Some(sent) = self.controls.take() {
            let mut request = sent.request;
            if matches!(request.command, Command::Tap) {
                let Some(tempo) = self.taps.tap(sent.at.saturating_duration_since(self.made).as_secs_f64()) else { continue };
                request.command = Command::Tempo(tempo);
            }
            self.request(request);
        }
        self.texts();
        while let Some(said) = self.tape.as_ref().and_then(Tape::said) {
            self.recording &= !said.starts_with("recording has stopped") && !said.starts_with("nothing is recorded");
            self.say(said);
        }
    }

    /// Applies the text that was asked for last, once it is encoded.
    fn texts(&mut self) {
        while let (Some(request), Some(words)) = (&self.waiting, &self.words) {
            let Some((text, hidden)) = (if self.patient { words.wait() } else { words.done() }) else { return };
            // One that was asked for before is passed over.
            if !matches!(&request.command, Command::Text { text: wanted, .. } if *wanted == text) {
                continue;
            }
            let request = request.clone();
            self.waiting = None;
            let told = hidden.and_then(|hidden| {
                on_slot!(&mut self.failover, slot => slot.session.set_text(&mut slot.backend, &slot.model, hidden.as_ref()))?;
                Ok(hidden)
            });
            match told {
                Ok(hidden) => {
                    (self.text, self.hidden) = (text, hidden);
                    self.apply(request);
                }
                Err(e) => self.say(format!("the text stays as it was: {e}")),
            }
        }
    }

    /// Takes one request: the runner's own here, the rest is the session's.
    pub fn request(&mut self, request: Request) {
        if let (Command::Text { .. } | Command::Hop(_) | Command::Record(_) | Command::Keep(_), Some(When::AtBar(bar))) =
            (&request.command, request.when)
            && bar > self.bar
        {
            match self.later.len() < LATER {
                true => self.later.push(request),
                false => self.say("too many requests wait: this one is not taken".into()),
            }
            return;
        }
        match &request.command {
            Command::Cancel(None) | Command::Panic => {
                self.later.clear();
                self.waiting = None;
            }
            // A replay does what its take says.
            Command::Clock(Clock::Link) if !self.controls.has_link() && self.silence_watchdog.is_some() => {
                return self.say(NO_LINK.into());
            }
            // Where others keep the beat, the song begins on their bar: who listens to them asks again, and says at which sample.
            Command::Play if request.when.is_none() && self.waits && self.controls.has_link() => {
                let at = self.heard_to();
                return self.controls.tell(&Event::Applied { at, request });
            }
            Command::Clock(Clock::Jack) if !self.controls.has_transport() && self.silence_watchdog.is_some() => {
                return self.say("there is no JACK transport to follow: sideman live --host jack has one".into());
            }
            // Parts are said one after the other, the heaviest first: the model weighs no words.
            Command::Text { part, text, weight } if *part > 0 => {
                let Some(own) = self.parts.get_mut(usize::from(*part) - 1) else { return };
                *own = (text.clone(), *weight);
                let mut parts: Vec<&(String, f32)> = self.parts.iter().filter(|p| p.1 > 0.0 && !p.0.trim().is_empty()).collect();
                parts.sort_by(|a, b| b.1.total_cmp(&a.1));
                let text = parts.iter().map(|p| p.0.as_str()).collect::<Vec<_>>().join(", ");
                let whole = Command::Text { part: 0, text, weight: 1.0 };
                let at = self.heard_to();
                self.controls.tell(&Event::Applied { at, request: request.clone() });
                return self.request(Request { command: whole, ..request });
            }
            Command::Text { part: 0, text, .. } => match &self.words {
                Some(words) => {
                    words.encode(text.clone());
                    self.waiting = Some(request);
                    return;
                }
                None => return self.say("this model takes no text".into()),
            },
            Command::Hop(frames) => self.hop = HOP.clamp(f64::from(*frames)) as usize,
            Command::Record(on) => {
                let dir = self.takes.join(take_name());
                self.recording = *on && self.tape.is_some();
                self.begun = self.heard_to();
                self.send(if *on { Piece::Begin(dir) } else { Piece::End });
            }
            Command::Keep(name) => {
                let name = if name.trim().is_empty() { take_name() } else { name.replace(['/', '\0'], "-") };
                self.send(Piece::Keep(self.takes.join(name)));
            }
            _ => {}
        }
        self.apply(request);
    }

    /// Gives it to the session, the tape and all who listen.
    fn apply(&mut self, request: Request) {
        if !silent(&request.command) {
            on_slot!(&mut self.failover, slot => slot.session.request(request.clone()));
        }
        let at = self.heard_to();
        self.send(Piece::Event(Entry { at, request: request.clone() }));
        self.controls.tell(&Event::Applied { at, request });
    }

    fn tape_hop(&mut self, heard: &[f32]) {
        if self.tape.is_none() {
            return;
        }
        let heard = heard.to_vec();
        let tempo = if self.hops == 0 {
            (self.info.config.bar1, self.info.config.tempo, self.info.config.meter)
        } else {
            (self.snapshot.time, self.snapshot.tempo, self.snapshot.meter)
        };
        let input_stem = if self.hops == 0 { self.info.config.input_stem } else { self.snapshot.input_stem };
        let tokens = on_slot!(&self.failover, slot => slot.session.tokens().1.to_vec());
        let slots = self.mixer.slots().to_vec();
        self.send(Piece::Hop { heard, slots, input_stem, tokens, tempo });
    }

    fn send(&mut self, piece: Piece) {
        let patient = self.patient;
        if let Some(tape) = &mut self.tape
            && !tape.send(piece, patient)
            && tape.lost() == 1
        {
            self.say("the disk is too slow: the take has a gap".into());
        }
    }

    /// Ends the session and its take; gives what the recorder said.
    pub fn finish(mut self) -> Vec<String> {
        let said = self.tape.take().map(Tape::finish).unwrap_or_default();
        said.iter().for_each(|s| self.controls.tell(&Event::Said(s.clone())));
        self.controls.end();
        said
    }

    /// Channels of a slot.
    pub fn channels(&self) -> usize {
        mix::channels(self.stems.len())
    }
}

/// `take-YYYYMMDD-HHMMSS`, in UTC.
pub fn take_name() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, s) = ((now / 86_400) as i64, now % 86_400);
    // Days to a date, after Howard Hinnant's algorithm: years begin in March.
    let z = days + 719_468;
    let (era, doe) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    format!("take-{year:04}{month:02}{day:02}-{:02}{:02}{:02}", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_are_named_by_the_time() {
        let name = take_name();
        assert!(name.len() == 20 && name.starts_with("take-20"), "{name}");
    }
}
