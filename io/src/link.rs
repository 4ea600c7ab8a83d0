//! Ableton Link: programs on one network share tempo, beat and bar, start and stop, and nobody leads. The band is in the session while its
//! clock is Link, and leaves it with another one.
//!
//! Alone, the session's beat is the band's. With others it is everybody's: the band bends its tempo to stay on it and comes in on its bar lines,
//! as with every clock from outside; a tempo that the musician asks for is asked of everybody. Link knows time by the machine's clock,
//! [`PlaybackClock`] which of the band's samples sounds then.
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

use crate::control::{Control, Event};
use crate::midi::{COME_IN, Entrance, keep_on, keep_tempo, quarters};
use crate::playback_clock::{Opened, PlaybackClock};

/// Between two looks at what sounds.
const LOOK: Duration = Duration::from_millis(1);
/// The band is held to the session so often: a hop or so.
const FOLLOW: Duration = Duration::from_millis(40);
/// Quarter notes by which a session that is the band's alone may lie beside it: 2.5 ms at 120 a minute.
const NEAR: f64 = 0.005;
/// Looks at the band's state until it is believed: two hops of the longest.
const PATIENCE: u32 = 25;
/// Who meets others may find their session stopped: so long that stops nothing.
const MEET: Duration = Duration::from_secs(1);

/// The band's place in a session; it leaves when this is dropped.
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Follows Link whenever `control`'s band does. Gives where it is to be told of every device that is opened.
    ///
    /// # Errors
    /// The system makes no thread.
    pub fn start(control: Control) -> std::io::Result<(Server, Sender<Opened>)> {
        let stop = Arc::new(AtomicBool::new(false));
        let (speaker, opened) = PlaybackClock::new();
        let (seen, events) = (stop.clone(), control.events());
        control.link();
        let serve = move || serve(&control, &events, speaker, &seen);
        let thread = std::thread::Builder::new().name("link".into()).spawn(serve)?;
        Ok((Server { stop, thread: Some(thread) }, opened))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It panicked: there is nobody to tell, and the music goes on.
            let _ = thread.join();
        }
    }
}

fn serve(control: &Control, events: &Receiver<Event>, mut speaker: PlaybackClock, stop: &AtomicBool) {
    let (origin, began) = (control.origin(), Instant::now());
    let (mut peer, mut followed) = (None::<Peer>, began);
    while !stop.load(Ordering::Acquire) && !control.ended() {
        std::thread::sleep(LOOK);
        let offset = speaker.look(control, began.elapsed().as_secs_f64());
        if followed.elapsed() < FOLLOW {
            continue;
        }
        followed = Instant::now();
        let model = control.snapshot();
        if model.clock != Clock::Link {
            peer = None;
            events.try_iter().for_each(drop);
            continue;
        }
        // Without a device nothing sounds that others could be in time with, and what is asked for waits.
        let Some(offset) = offset else { continue };
        let asked = events.try_iter().filter_map(|event| match event {
            Event::Applied { request, .. } if request.from != origin => Some(request.command),
            _ => None,
        });
        let asked: Vec<Command> = asked.collect();
        let song = || began.elapsed().as_secs_f64() + offset;
        let peer = peer.get_or_insert_with(|| Peer::join(&model, song(), origin));
        let before = peer.others;
        let wishes = peer.follow(&model, &asked, song());
        if peer.others != before {
            control.say(match peer.others {
                0 => "Ableton Link: nobody else is there".to_owned(),
                1 => "Ableton Link: one other".to_owned(),
                n => format!("Ableton Link: {n} others"),
            });
        }
        control.locked(1.0);
        for wish in wishes {
            if let Err(e) = control.send(wish) {
                tracing::info!("Link: {e}");
            }
        }
    }
}

/// The same moment by both clocks: Link's µs, song time in s.
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

/// One in a session.
struct Peer {
    link: AblLink,
    state: SessionState,
    origin: Origin,
    /// How many others there are, and since when there are any.
    others: u64,
    met: Instant,
    /// The session and the band as they were seen last: they play.
    rolling: bool,
    played: bool,
    /// Somebody asked the band to play: so often the state may still say that it does.
    wanted: u32,
    entry: Entrance,
}

impl Peer {
    /// Joins with the band's tempo and beat: they are the session's where nobody is there.
    fn join(model: &Snapshot, song: f64, origin: Origin) -> Peer {
        let (link, mut state) = (AblLink::new(model.tempo), SessionState::new());
        let now = Moment { micros: link.clock_micros(), song };
        let at = now.micros(model.time as f64 / f64::from(RATE));
        link.capture_app_session_state(&mut state);
        state.request_beat_at_time(quarters(model), at, model.meter.quarters() as f64);
        state.set_is_playing(model.playing, at);
        link.commit_app_session_state(&state);
        link.enable_start_stop_sync(true);
        link.enable(true);
        let (rolling, played) = (model.playing, model.playing);
        Peer { link, state, origin, others: 0, met: Instant::now(), rolling, played, wanted: 0, entry: Entrance::default() }
    }

    /// What the session asks of the band; `asked`: what others asked of the band since the last time, which the session hears of.
    fn follow(&mut self, model: &Snapshot, asked: &[Command], song: f64) -> Vec<Request> {
        let Peer { link, state, .. } = self;
        let now = Moment { micros: link.clock_micros(), song };
        link.capture_app_session_state(state);
        let others = link.num_peers();
        if self.others == 0 {
            self.met = Instant::now();
        }
        self.others = others;
        // What is asked for now is heard from the samples on that are decided next.
        let next = model.time as f64 / f64::from(RATE);
        let (at, quantum) = (now.micros(next), model.meter.quarters() as f64);
        let (mut wishes, mut ours) = (Vec::new(), false);

        let rolling = state.is_playing();
        match (std::mem::replace(&mut self.rolling, rolling), rolling) {
            (true, false) if self.met.elapsed() > MEET => {
                self.entry.leave();
                wishes.push(Request { command: Command::Stop, when: Some(When::Now), from: self.origin });
            }
            (false, true) if !model.playing => self.entry.arm(),
            _ => {}
        }
        for command in asked {
            match command {
                Command::Play => self.wanted = PATIENCE,
                Command::Tempo(tempo) if others > 0 => {
                    state.set_tempo(*tempo, at);
                    ours = true;
                }
                _ => {}
            }
        }
        self.wanted = self.wanted.saturating_sub(1);
        if self.wanted > 0 && !model.playing {
            self.wanted = 0;
            self.entry.arm();
            // Where nobody else is, the bar line is as soon as the band can come in.
            state.request_beat_at_time(0.0, now.micros(next + COME_IN + 0.01), quantum);
            ours = true;
        }
        if others == 0 {
            let moved = model.playing && (state.beat_at_time(at, quantum) - quarters(model)).abs() > NEAR;
            if moved || (state.tempo() - model.tempo).abs() > 1e-3 {
                state.set_tempo(model.tempo, at);
                ours = true;
            }
            if moved {
                state.request_beat_at_time(quarters(model), at, quantum);
            }
        }

        let (tempo, theirs) = (state.tempo(), state.beat_at_time(at, quantum));
        match self.entry.come_in(model, next, theirs, tempo, None, self.origin) {
            Some(entered) => wishes.extend(entered),
            None if others == 0 => {}
            None if model.playing => wishes.extend(keep_on(model, theirs, tempo, self.origin)),
            None => wishes.extend(keep_tempo(model, tempo, self.origin)),
        }
        // Who starts or stops the band starts or stops everybody, from the same bar line on.
        let starts = wishes.iter().find_map(|w| match (&w.command, w.when) {
            (Command::Play, Some(When::Sample(sample))) => Some(sample as f64 / f64::from(RATE)),
            _ => None,
        });
        let edge = std::mem::replace(&mut self.played, model.playing) != model.playing;
        if !self.rolling && (starts.is_some() || edge && model.playing) {
            state.set_is_playing(true, now.micros(starts.unwrap_or(next)));
            (self.rolling, ours) = (true, true);
        } else if self.rolling && edge && !model.playing && !self.entry.armed() {
            state.set_is_playing(false, at);
            (self.rolling, ours) = (false, true);
        }
        if ours {
            link.commit_app_session_state(state);
        }
        wishes
    }
}
