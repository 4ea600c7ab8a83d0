//! Requests: when each is taken, and which of them the runner handles itself.

use std::time::Duration;

use sideman_engine::limits::HOP;
use sideman_engine::live::{Clock, Command, Request, When};
use sideman_engine::model::FRAME;
use sideman_kernels::Backend;

use super::Runner;
use crate::event::{Event, Refusal};
use crate::failover::with_active_slot;
use crate::recorder::RecorderCommand;
use crate::run_mode::RunMode;
use crate::take::{Entry, TakePlace, silent};

/// The most requests that the runner handles itself and that can wait for their bar.
const MAX_SCHEDULED: usize = 64;
/// Time between two checks for [`Command::Play`] before the session begins.
const POLL: Duration = Duration::from_millis(5);

/// The longest hop, in frames, that can be in time with a lead of `lead` samples: a hop as long as the lead is late
/// before its computing begins.
pub fn longest_hop(lead: i64) -> usize {
    (lead / FRAME as i64 - 1).max(1) as usize
}

impl<B: Backend> Runner<B> {
    /// Takes requests and plays nothing until one of them is [`Command::Play`]: the session then begins at
    /// song time 0, with all that was requested. False: the session was ended before, or `stop` returned
    /// true.
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
            self.apply_texts();
            self.update_snapshot();
            self.snapshot.playing = false;
            self.publish();
            std::thread::sleep(POLL);
        }
    }

    /// Takes all requests that wait, those that were scheduled for this bar first.
    pub(super) fn take_requests(&mut self) {
        let bar = self.bar;
        let due = |r: &mut Request| matches!(r.when, Some(When::AtBar(n)) if n <= bar);
        let due: Vec<Request> = self.scheduled.extract_if(.., due).collect();
        due.into_iter().for_each(|request| self.request(request));
        while let Some(sent) = self.controls.take() {
            let mut request = sent.request;
            if matches!(request.command, Command::Tap) {
                let seconds = sent.at.saturating_duration_since(self.started).as_secs_f64();
                let Some(tempo) = self.taps.tap(seconds) else { continue };
                request.command = Command::Tempo(tempo);
            }
            self.request(request);
        }
        self.apply_texts();
        self.take_recording_events();
    }

    /// Applies the text that was requested last, once it is encoded.
    fn apply_texts(&mut self) {
        while let Some((request, text, hidden)) = self.text.next_encoded(self.mode.is_offline()) {
            let set = hidden.and_then(|hidden| {
                with_active_slot!(&mut self.failover, slot => slot.session.set_text(&mut slot.backend, &slot.model, hidden.as_ref()))?;
                Ok(hidden)
            });
            match set {
                Ok(hidden) => {
                    (self.text.text, self.text.hidden) = (text, hidden);
                    self.apply(request);
                }
                Err(e) => self.emit(Refusal::Text { error: e.to_string() }),
            }
        }
    }

    /// Takes one request. The runner handles texts, hops and takes itself; everything else is the session's.
    pub fn request(&mut self, request: Request) {
        if self.waits_for_its_bar(&request) {
            match self.scheduled.len() < MAX_SCHEDULED {
                true => self.scheduled.push(request),
                false => self.emit(Refusal::TooManyScheduled),
            }
            return;
        }
        // A replay follows the clock that its take recorded.
        let live = self.mode != RunMode::Replay;
        match &request.command {
            Command::Cancel(None) | Command::Panic => {
                self.scheduled.clear();
                self.text.cancel();
            }
            Command::Clock(Clock::Link) if live && !self.controls.has_link() => return self.emit(Refusal::NoLink),
            Command::Clock(Clock::Jack) if live && !self.controls.has_transport() => return self.emit(Refusal::NoJackTransport),
            // With Link the song begins on a bar of the other peers: the Link thread gets this event and
            // sends a request for that sample.
            Command::Play if request.when.is_none() && self.stopped_on_link && self.controls.has_link() => {
                let at = self.heard_to();
                return self.controls.tell(Event::Applied { at, request });
            }
            Command::Text { part: 0, text, .. } => {
                let text = text.clone();
                return self.request_text(text, request);
            }
            Command::Text { part, text, weight } => {
                let Some(text) = self.text.set_part(*part, text, *weight) else { return };
                let at = self.heard_to();
                self.controls.tell(Event::Applied { at, request: request.clone() });
                return self.request(Request { command: Command::Text { part: 0, text, weight: 1.0 }, ..request });
            }
            Command::Hop(frames) => {
                let frames = HOP.clamp(f64::from(*frames)) as usize;
                let most = longest_hop(self.time().1);
                if self.mode == RunMode::Devices && frames > most && frames > self.hop_frames {
                    return self.emit(Refusal::HopTooLong { frames, most });
                }
                self.hop_frames = frames;
            }
            Command::Record(true) => self.record_command(RecorderCommand::Start(TakePlace::named(&self.takes, ""))),
            Command::Record(false) => self.record_command(RecorderCommand::Stop),
            Command::Keep(name) => self.record_command(RecorderCommand::Keep(TakePlace::named(&self.takes, name))),
            // The session's, or the control surfaces'.
            Command::Play
            | Command::Stop
            | Command::CountIn(_)
            | Command::Tempo(_)
            | Command::Tap
            | Command::Half
            | Command::Double
            | Command::One
            | Command::Meter(_)
            | Command::Clock(_)
            | Command::Chords(_)
            | Command::Key(_)
            | Command::InputStem(_)
            | Command::Stem(..)
            | Command::Mode(_)
            | Command::LoopBars(_)
            | Command::Lag(_)
            | Command::Temperature(_)
            | Command::TopK(_)
            | Command::TopP(_)
            | Command::Cfg(_)
            | Command::Seed(_)
            | Command::Section(_)
            | Command::Fill
            | Command::Dim(_)
            | Command::Room(_)
            | Command::Click(_)
            | Command::Cancel(_)
            | Command::Learn(_)
            | Command::Guided(_)
            | Command::Rest(_) => {}
        }
        self.apply(request);
    }

    /// Whether a request that the runner handles itself is for a later bar. A take records it at the time at
    /// which it was applied, so a replay applies it at once.
    fn waits_for_its_bar(&self, request: &Request) -> bool {
        let own = matches!(request.command, Command::Text { .. } | Command::Hop(_) | Command::Record(_) | Command::Keep(_));
        own && self.mode != RunMode::Replay && matches!(request.when, Some(When::AtBar(bar)) if bar > self.bar)
    }

    fn request_text(&mut self, text: String, request: Request) {
        if !self.text.encode(text, request) {
            return self.emit(Refusal::NoTextEncoder);
        }
        // In a take the next request comes after this one was applied.
        if self.mode == RunMode::Replay {
            self.apply_texts();
        }
    }

    /// Gives a request to the session, the recorder and all listeners.
    fn apply(&mut self, request: Request) {
        if !silent(&request.command) {
            with_active_slot!(&mut self.failover, slot => slot.session.request(request.clone()));
        }
        let at = self.heard_to();
        self.record_command(RecorderCommand::Request(Entry { at, request: request.clone() }));
        self.controls.tell(Event::Applied { at, request });
    }
}
