//! Ableton Link: programs on a network share tempo, beat, bar, start and stop; none of them leads. Sideman is in the Link session while its
//! clock is Link.
//!
//! Without other peers the beat is Sideman's own. With others it is shared: Sideman bends its tempo to stay in phase and starts on the
//! shared bar lines, as with every clock from outside, and a tempo that the musician sets is set for all peers. Link's times are those of
//! the machine's clock; [`PlaybackClock`] knows which sample sounds at a time.
//!
//! Link is GPL-2.0-or-later, and so is a program that is built with it: the feature `link` is off by default.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusty_link::{AblLink, SessionState};
use sideman_engine::audio::RATE;
use sideman_engine::live::{Clock, Command, Origin, Request, Snapshot, When};

use super::entry::{START_LEAD, keep_phase, keep_tempo, quarters};
use super::{BarEntry, Opened, PlaybackClock};
use crate::control::Control;
use crate::event::Event;

/// Time between two reads of the playback clock.
const LOOK: Duration = Duration::from_millis(1);
/// Time between two reads of the Link session's state: about a hop.
const FOLLOW: Duration = Duration::from_millis(40);
/// The largest difference between Link's beat and Sideman's own without other peers, in quarter notes: 2.5 ms at 120 BPM.
const NEAR: f64 = 0.005;
/// Reads until a snapshot is sure to show a request that was sent: two of the longest hops.
const LOOKS_TO_START: u32 = 25;
/// Time after the first peer has joined in which a stopped Link session does not stop the band.
const JOINING: Duration = Duration::from_secs(1);

/// A peer in the Link session. Dropping it leaves the session.
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the thread. It is in the Link session while the session's clock is Link. Also returns where to send every device that is
    /// opened.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn start(control: Control) -> std::io::Result<(Server, Sender<Opened>)> {
        let stop = Arc::new(AtomicBool::new(false));
        let (playback, opened) = PlaybackClock::new();
        let (seen, events) = (stop.clone(), control.events());
        control.link();
        let serve = move || serve(&control, &events, playback, &seen);
        let thread = std::thread::Builder::new().name("link".into()).spawn(serve)?;
        Ok((Server { stop, thread: Some(thread) }, opened))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            crate::join::join(thread);
        }
    }
}

fn serve(control: &Control, events: &Receiver<Event>, mut playback: PlaybackClock, stop: &AtomicBool) {
    let (origin, began) = (control.origin(), Instant::now());
    let (mut peer, mut followed) = (None::<Peer>, began);
    while !stop.load(Ordering::Acquire) && !control.ended() {
        std::thread::sleep(LOOK);
        let offset = playback.look(control, began.elapsed().as_secs_f64());
        if followed.elapsed() < FOLLOW {
            continue;
        }
        followed = Instant::now();
        let snapshot = control.snapshot();
        if snapshot.clock != Clock::Link {
            peer = None;
            events.try_iter().for_each(drop);
            continue;
        }
        // Without a device nothing sounds, and requests wait.
        let Some(offset) = offset else { continue };
        let asked = events.try_iter().filter_map(|event| match event {
            Event::Applied { request, .. } if request.from != origin => Some(request.command),
            _ => None,
        });
        let asked: Vec<Command> = asked.collect();
        let song = || began.elapsed().as_secs_f64() + offset;
        let peer = peer.get_or_insert_with(|| Peer::join(&snapshot, song(), origin));
        let before = peer.others;
        let requests = peer.follow(&snapshot, &asked, song());
        if peer.others != before {
            control.say(format!("Ableton Link: {} other peers", peer.others));
        }
        control.locked(1.0);
        for request in requests {
            if let Err(e) = control.send(request) {
                tracing::info!("Link: {e}");
            }
        }
    }
}

/// The same moment on both clocks: Link's in µs, song time in s.
#[derive(Clone, Copy)]
struct Moment {
    micros: i64,
    song: f64,
}

impl Moment {
    fn micros(self, song: f64) -> i64 {
        self.micros + ((song - self.song) * 1e6) as i64
    }
}

/// Sideman's peer.
struct Peer {
    link: AblLink,
    state: SessionState,
    origin: Origin,
    /// The number of other peers, and since when there are any.
    others: u64,
    met: Instant,
    /// Whether the Link session and the band played at the last read.
    rolling: bool,
    played: bool,
    /// A play was requested: the reads that are left until the snapshot is sure to show it.
    starting: u32,
    entry: BarEntry,
}

impl Peer {
    /// Joins with the band's tempo and beat, which count if there are no other peers.
    fn join(snapshot: &Snapshot, song: f64, origin: Origin) -> Peer {
        let (link, mut state) = (AblLink::new(snapshot.tempo), SessionState::new());
        let now = Moment { micros: link.clock_micros(), song };
        let at = now.micros(snapshot.time as f64 / f64::from(RATE));
        link.capture_app_session_state(&mut state);
        state.request_beat_at_time(quarters(snapshot), at, snapshot.meter.quarters() as f64);
        state.set_is_playing(snapshot.playing, at);
        link.commit_app_session_state(&state);
        link.enable_start_stop_sync(true);
        link.enable(true);
        let (rolling, played) = (snapshot.playing, snapshot.playing);
        Peer { link, state, origin, others: 0, met: Instant::now(), rolling, played, starting: 0, entry: BarEntry::default() }
    }

    /// The requests of the Link session to the band. `asked`: the commands from other sources since the last
    /// call, which are passed to the Link session.
    fn follow(&mut self, snapshot: &Snapshot, asked: &[Command], song: f64) -> Vec<Request> {
        let Peer { link, state, .. } = self;
        let now = Moment { micros: link.clock_micros(), song };
        link.capture_app_session_state(state);
        let others = link.num_peers();
        if self.others == 0 {
            self.met = Instant::now();
        }
        self.others = others;
        // A request takes effect at the next undecided sample.
        let next = snapshot.time as f64 / f64::from(RATE);
        let (at, quantum) = (now.micros(next), snapshot.meter.quarters() as f64);
        let (mut requests, mut ours) = (Vec::new(), false);

        let rolling = state.is_playing();
        match (std::mem::replace(&mut self.rolling, rolling), rolling) {
            (true, false) if self.met.elapsed() > JOINING => {
                self.entry.disarm();
                requests.push(Request { command: Command::Stop, when: Some(When::Now), from: self.origin });
            }
            (false, true) if !snapshot.playing => self.entry.arm(),
            _ => {}
        }
        for command in asked {
            match command {
                Command::Play => self.starting = LOOKS_TO_START,
                Command::Tempo(tempo) if others > 0 => {
                    state.set_tempo(*tempo, at);
                    ours = true;
                }
                _ => {}
            }
        }
        self.starting = self.starting.saturating_sub(1);
        if self.starting > 0 && !snapshot.playing {
            self.starting = 0;
            self.entry.arm();
            // Without other peers the bar line is as early as the band can start.
            state.request_beat_at_time(0.0, now.micros(next + START_LEAD + 0.01), quantum);
            ours = true;
        }
        if others == 0 {
            let moved = snapshot.playing && (state.beat_at_time(at, quantum) - quarters(snapshot)).abs() > NEAR;
            if moved || (state.tempo() - snapshot.tempo).abs() > 1e-3 {
                state.set_tempo(snapshot.tempo, at);
                ours = true;
            }
            if moved {
                state.request_beat_at_time(quarters(snapshot), at, quantum);
            }
        }

        let (tempo, theirs) = (state.tempo(), state.beat_at_time(at, quantum));
        match self.entry.start(snapshot, next, theirs, tempo, None, None, self.origin) {
            Some(started) => requests.extend(started),
            None if others == 0 => {}
            None if snapshot.playing => requests.extend(keep_phase(snapshot, theirs, tempo, self.origin)),
            None => requests.extend(keep_tempo(snapshot, tempo, self.origin)),
        }
        // A start or stop of the band starts or stops all peers, from the same bar line on.
        let starts = requests.iter().find_map(|w| match (&w.command, w.when) {
            (Command::Play, Some(When::Sample(sample))) => Some(sample as f64 / f64::from(RATE)),
            _ => None,
        });
        let edge = std::mem::replace(&mut self.played, snapshot.playing) != snapshot.playing;
        if !self.rolling && (starts.is_some() || edge && snapshot.playing) {
            state.set_is_playing(true, now.micros(starts.unwrap_or(next)));
            (self.rolling, ours) = (true, true);
        } else if self.rolling && edge && !snapshot.playing && !self.entry.armed() {
            state.set_is_playing(false, at);
            (self.rolling, ours) = (false, true);
        }
        if ours {
            link.commit_app_session_state(state);
        }
        requests
    }
}
