//! The engine's thread against devices: takes hops from the input's ring, gives slots to the output's, catches up in order after a stall,
//! and goes up and down the ladder. Devices come and go by the [`EngineHandle`]; while there is none, or one is silent, song time goes on by the
//! clock, the band hears silence, and a take is recorded as before.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use ringbuf::traits::{Consumer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};
use sideman_engine::audio::RATE;
use sideman_engine::limits::MAX_HOP;
use sideman_engine::live::{Command, Request};
use sideman_engine::model::FRAME;
use sideman_kernels::Backend;

use crate::clock::{BeatPosition, Opened};
use crate::device::DeviceStats;
use crate::input::{self, InputReader, InputWriter};
use crate::ladder::{Ladder, Step};
use crate::midi::PortEvent;
use crate::midi::ports::Feed;
use crate::output::{self, OutputReader, OutputWriter};
use crate::rt;
use crate::runner::Runner;

/// A device that gives nothing for so long is silent: song time goes on by the clock.
const SILENT: Duration = Duration::from_secs(1);
/// How long the engine sleeps where there is nothing to do.
const NAP: Duration = Duration::from_millis(1);

/// Seconds to spare after input was lost without a word: blocks come a little early and a little late.
const SPARE: f64 = 0.02;
/// So many hops in a row that leave the device short are no accident.
const BEHIND: u32 = 4;

/// MIDI messages that may wait for the engine's thread, and marks for the device's.
const MIDI: usize = 1024;
const MARKS: usize = 256;

/// What a device runs its callbacks over.
pub struct DevicePorts {
    /// For what it hears.
    pub input: InputWriter,
    /// For what it plays; it stands where the sound now heard belongs, and its owner adds the latencies.
    pub reader: OutputReader,
    /// Song time, in frames of the input, of the first sample that will be heard.
    pub in_start: u64,
    /// For its MIDI ports, where it has any.
    pub heard: HeapProd<PortEvent>,
    /// Where the beat lies, for a clock that is sent.
    pub marks: HeapCons<BeatPosition>,
}

impl DevicePorts {
    /// A line, and the engine's ends of its MIDI.
    fn new(
        input: InputWriter,
        reader: OutputReader,
        in_start: u64,
    ) -> (DevicePorts, HeapCons<PortEvent>, HeapProd<BeatPosition>) {
        let (to_hands, midi) = HeapRb::new(MIDI).split();
        let (marks, to_clock) = HeapRb::new(MARKS).split();
        (DevicePorts { input, reader, in_start, heard: to_hands, marks: to_clock }, midi, marks)
    }
}

/// The devices' way to the engine.
#[derive(Clone)]
pub struct EngineHandle {
    asks: Sender<Ask>,
}

struct Ask {
    rate_in: u32,
    rate_out: u32,
    steered: bool,
    give: Sender<Result<DevicePorts, String>>,
}

impl EngineHandle {
    /// A link and what answers it.
    pub(crate) fn pair() -> (EngineHandle, Asks) {
        let (asks, asked) = channel();
        (EngineHandle { asks }, Asks(asked))
    }

    /// Ring ends for a device of these rates, in place of those that were; `steered` where input and output have clocks of their own.
    ///
    /// # Errors
    /// A rate that can't be, or the engine is gone.
    pub fn connect(&self, rate_in: u32, rate_out: u32, steered: bool) -> Result<DevicePorts, String> {
        let (give, get) = channel();
        self.asks.send(Ask { rate_in, rate_out, steered, give }).map_err(|_| "the session is over".to_owned())?;
        match get.recv_timeout(Duration::from_secs(10)) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => Err("the engine doesn't answer".into()),
            Err(RecvTimeoutError::Disconnected) => Err("the session is over".into()),
        }
    }
}

/// The other end of a [`EngineHandle`].
pub(crate) struct Asks(Receiver<Ask>);

impl Asks {
    /// Waits for one device's asking, at most so long, and answers it with the ring ends that `make` gives for its rates.
    pub(crate) fn answer(
        &self,
        patience: Duration,
        make: impl FnOnce(u32, u32, bool) -> sideman_engine::Result<(InputWriter, OutputReader)>,
    ) {
        let Ok(ask) = self.0.recv_timeout(patience) else { return };
        let made = make(ask.rate_in, ask.rate_out, ask.steered);
        let line = made.map(|(input, reader)| DevicePorts::new(input, reader, 0).0).map_err(|e| e.to_string());
        let _ = ask.give.send(line);
    }
}

/// A runner on its way to its thread.
pub struct Live<B: Backend> {
    runner: Runner<B>,
    asks: Receiver<Ask>,
    stats: Receiver<(Arc<DeviceStats>, (u32, u32))>,
    ends: Option<Ends>,
    ladder: Ladder,
    longer: bool,
    late: u64,
    behind: Behind,
    heard: Vec<f32>,
    device: Option<(Arc<DeviceStats>, (u32, u32))>,
    /// Where MIDI goes that the device hears.
    pub hands: Option<Sender<PortEvent>>,
    /// Who is told of song time and beat beside the device: MIDI ports of the system.
    pub ports: Option<Feed>,
    /// Who is told of every device that is opened, to know what sounds now.
    pub speakers: Vec<Sender<Opened>>,
}

struct Ends {
    hearing: InputReader,
    writer: OutputWriter,
    midi: HeapCons<PortEvent>,
    marks: HeapProd<BeatPosition>,
    /// Up to when the input has given samples, or silence has stood for them.
    since: Instant,
    filling: bool,
    came: u64,
    steered: Option<(f64, Instant)>,
}

/// Watches for input that is lost without a word.
#[derive(Default)]
struct Behind {
    hops: u32,
    most: f64,
    underrun: u64,
}

impl Behind {
    /// A hop has been handed over. `underrun`: frames filled in so far; `short`: seconds that the device will be short of before the next one;
    /// `idle`: it is not the computer's fault. Gives the seconds that are missing, once [`BEHIND`] hops in a row were so.
    fn after(&mut self, underrun: u64, short: f64, idle: bool) -> Option<f64> {
        let again = underrun > self.underrun && short > 0.0 && idle;
        self.underrun = underrun;
        (self.hops, self.most) = if again { (self.hops + 1, self.most.max(short)) } else { (0, 0.0) };
        let missing = (self.hops >= BEHIND).then_some(self.most)?;
        (self.hops, self.most) = (0, 0.0);
        Some(missing)
    }
}

/// Tells the engine's thread whose latencies to show.
pub type Told = Sender<(Arc<DeviceStats>, (u32, u32))>;

impl<B: Backend> Live<B> {
    /// Makes a runner ready for devices.
    pub fn new(runner: Runner<B>) -> (Live<B>, EngineHandle, Told) {
        let (asks, asked) = channel();
        let (told, stats) = channel();
        let live = Live {
            runner,
            asks: asked,
            stats,
            ends: None,
            ladder: Ladder::default(),
            longer: false,
            late: 0,
            behind: Behind::default(),
            heard: Vec::with_capacity(MAX_HOP * FRAME),
            device: None,
            hands: None,
            ports: None,
            speakers: Vec::new(),
        };
        (live, EngineHandle { asks }, told)
    }

    /// Runs until somebody ends the session, on the calling thread; gives what the recorder said at the end.
    pub fn run(mut self) -> Vec<String> {
        rt::quiet_denormals();
        if let Err(e) = rt::favour_this_thread() {
            tracing::info!("{e}");
        }
        let began = Instant::now();
        while !self.runner.controls().ended() {
            if let Ok(ask) = self.asks.try_recv() {
                self.connect(&ask);
            }
            if let Ok(told) = self.stats.try_recv() {
                self.device = Some(told);
            }
            let frames = self.frames();
            let n = frames * FRAME;
            let Some(ends) = &mut self.ends else {
                std::thread::sleep(NAP);
                continue;
            };
            while let Some(heard) = ends.midi.try_pop() {
                if let Some(hands) = &self.hands {
                    // They are gone only where the session is over.
                    let _ = hands.send(heard);
                }
            }
            let waiting = ends.hearing.listen(n);
            let came = ends.hearing.counts().frames.load(std::sync::atomic::Ordering::Relaxed);
            if came != ends.came {
                (ends.came, ends.since, ends.filling) = (came, Instant::now(), false);
            }
            if waiting < n {
                std::thread::sleep(NAP);
                let passed = ends.since.elapsed();
                if passed > SILENT || (ends.filling && passed > SILENT / 40) {
                    let (_, rate) = ends.hearing.next();
                    ends.hearing.silence((passed.as_secs_f64().min(10.0) * f64::from(rate)) as usize);
                    (ends.since, ends.filling) = (Instant::now(), true);
                }
                continue;
            }
            ends.hearing.take(n, &mut self.heard);
            self.hop(began);
            // What a stall of ours takes is no silence of the device's.
            if let Some(ends) = self.ends.as_mut().filter(|ends| !ends.filling) {
                ends.since = Instant::now();
            }
        }
        self.runner.finish()
    }

    /// Frames of the next hop: as asked for, or twice as many on the ladder's last rung, where the lead is long enough for them; a hop that
    /// the lead doesn't cover is always late.
    fn frames(&self) -> usize {
        let (asked, lead) = (self.runner.hop_frames(), self.runner.time().1);
        let twice = (2 * asked).min(MAX_HOP);
        if self.longer && 4 * (twice * FRAME) as i64 <= 3 * lead { twice } else { asked }
    }

    /// One hop, from the samples in `heard` to slots in the ring.
    fn hop(&mut self, began: Instant) {
        self.runner.hop(&self.heard);
        let bar = self.runner.bar();
        let Some(ends) = &mut self.ends else { return };
        ends.writer.bar(bar);
        // A device without a clock to send takes none out: the ring is full then, and that is all.
        let mark = BeatPosition::of(self.runner.snapshot());
        let _ = ends.marks.try_push(mark);
        if let Some(ports) = &mut self.ports {
            let _ = ports.marks.try_push(mark);
        }
        let dropped = ends.writer.write(self.runner.slots());
        let shared = ends.writer.shared().clone();
        let load = |n: &std::sync::atomic::AtomicU64| n.load(std::sync::atomic::Ordering::Relaxed);
        let running = shared.running.load(std::sync::atomic::Ordering::Relaxed);
        if let (Some((stats, rates)), Some((ahead, when))) = (&self.device, ends.steered) {
            // Both callbacks' frames as seconds: how far what came in is ahead of what went out.
            let (frames_in, frames_out) = (load(&ends.hearing.counts().frames), load(&stats.frames));
            let now = frames_in as f64 / f64::from(rates.0) - frames_out as f64 / f64::from(rates.1);
            let dt = when.elapsed().as_secs_f64();
            ends.hearing.steer(if ahead == 0.0 { now } else { 0.5 * (now + ahead) }, dt);
            ends.steered = Some((now, Instant::now()));
        }
        let late = if running { -ends.writer.ahead() } else { 0.0 };
        let overrun = load(&ends.hearing.counts().overrun);
        if late > 0.0 {
            self.late += 1;
        }
        let guided = self.runner.guided();
        let load_now = self.runner.snapshot().health.load;
        // Short of notes, with time to spare and nothing left to take in: what is missing was lost before it came here, by a system that told
        // nobody (PipeWire's ALSA does), and would be missing for ever.
        let n = self.heard.len();
        let idle = ends.steered.is_some() && load_now < 0.5 && ends.hearing.listen(n) < n;
        let short = n as f64 / f64::from(RATE) - ends.writer.ahead();
        if let Some(missing) = self.behind.after(load(&shared.underrun), short, idle) {
            let missing = missing + SPARE;
            ends.hearing.missed(missing);
            self.runner.say(format!("{:.0} ms went missing on the way from the input: silence stands for them", missing * 1e3));
        }
        let step = self.ladder.after(began.elapsed().as_secs_f64(), late, load_now, guided);
        let (rung, reason) = (self.ladder.rung(), self.ladder.reason().to_owned());
        let health = &mut self.runner.snapshot().health;
        health.late = self.late;
        health.underrun = load(&shared.underrun) + dropped as u64;
        health.overrun = overrun;
        health.rung = rung;
        if health.reason != reason {
            health.reason.clone_from(&reason);
            if !reason.is_empty() {
                self.runner.say(reason);
            }
        }
        if let Some((stats, rates)) = &self.device {
            let (latency_in, latency_out) = stats.latency_ms(*rates);
            let health = &mut self.runner.snapshot().health;
            (health.latency_in, health.latency_out) = (latency_in, latency_out);
            health.xruns = load(&stats.xruns);
        }
        match step {
            Some(Step::Guided(on)) => {
                self.runner.request(Request { command: Command::Guided(on), when: None, from: 0 });
            }
            Some(Step::Longer(on)) => self.longer = on,
            None => {}
        }
        self.runner.publish();
    }

    /// New ring ends, at the song time that has been heard.
    fn connect(&mut self, ask: &Ask) {
        let (heard, lead) = self.runner.time();
        let make = || -> sideman_engine::Result<(DevicePorts, Ends)> {
            let (input, hearing) = input::ring(ask.rate_in, heard, ask.steered)?;
            // Before the first hop the band has already given 0..lead; it stands in the slots. Later those are played and gone.
            let first = heard == 0;
            let start = if first { 0 } else { heard + lead };
            let (mut writer, mut reader) = output::ring(ask.rate_out, self.runner.channels(), start)?;
            if first {
                let _ = writer.write(self.runner.slots());
            }
            let at = |song: i64, rate: u32| song.max(0) as u64 * u64::from(rate) / u64::from(RATE);
            reader.seek(at(heard, ask.rate_out));
            let now = Instant::now();
            let steered = ask.steered.then_some((0.0, now));
            for speaker in self.ports.iter().map(|ports| &ports.opened).chain(&self.speakers) {
                // They are gone only where the session is over.
                let _ = speaker.send((writer.shared().clone(), ask.rate_out));
            }
            let (line, midi, marks) = DevicePorts::new(input, reader, at(heard, ask.rate_in));
            Ok((line, Ends { hearing, writer, midi, marks, since: now + SILENT, filling: false, came: 0, steered }))
        };
        let answer = match make() {
            Ok((line, ends)) => {
                self.ends = Some(ends);
                Ok(line)
            }
            Err(e) => Err(e.to_string()),
        };
        let _ = ask.give.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_missing_where_an_idle_engine_is_short_again_and_again() {
        let mut behind = Behind::default();
        let mut hops =
            |all: &[(u64, f64, bool)]| -> Vec<Option<f64>> { all.iter().map(|h| behind.after(h.0, h.1, h.2)).collect() };
        // In time; a stall of the computer's own; three that are short and one that isn't.
        assert!(hops(&[(0, -0.1, true), (500, 0.2, false), (900, 0.1, false)]).iter().all(Option::is_none));
        assert!(
            hops(&[(1000, 0.01, true), (1100, 0.02, true), (1200, 0.01, true), (1200, 0.01, true)]).iter().all(Option::is_none)
        );
        // Four in a row, once.
        let told = hops(&[(1300, 0.01, true), (1400, 0.03, true), (1500, 0.02, true), (1600, 0.01, true), (1700, 0.01, true)]);
        assert_eq!(told, [None, None, None, Some(0.03), None]);
    }
}
