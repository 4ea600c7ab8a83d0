//! Stream capture: which calls may be recorded, which may not, and how streams join.

use std::collections::HashMap;
use std::thread::ThreadId;

use super::code::{self, Code};
use super::queue::Work;
use super::state::State;
use crate::machine::FaultKind;

/// A capture in progress.
pub struct Capture {
    /// The stream it began in, the thread and the mode (0 global, 1 thread-local, 2 relaxed).
    pub origin: u64,
    #[allow(missing_docs)]
    pub thread: ThreadId,
    #[allow(missing_docs)]
    pub mode: i32,
    /// The recorded work, in call order.
    pub works: Vec<Work>,
    /// Streams in it.
    pub streams: Vec<u64>,
    /// For each forked stream: how much work it has recorded, and how much of that has been waited for.
    pub tails: HashMap<u64, (u64, u64)>,
    /// A forbidden call was made.
    pub invalid: bool,
}

impl State {
    /// Records work in a capture.
    pub fn capture_work(&mut self, id: u64, stream: u64, work: Work) -> Result<(), Code> {
        let Some(c) = self.captures.get_mut(&id) else { return Err(code::INVALID_HANDLE) };
        if c.invalid {
            return Err(code::CAPTURE_INVALIDATED);
        }
        c.works.push(work);
        if stream != c.origin {
            c.tails.entry(stream).or_default().0 += 1;
        }
        Ok(())
    }

    /// Refuses a call that is not allowed on a capturing stream.
    pub fn not_capturing(&mut self, stream: u64, what: &str) -> Result<(), Code> {
        match self.streams.get(&stream).and_then(|s| s.capture) {
            Some(id) => self.break_capture(id, what),
            None => Ok(()),
        }
    }

    /// Refuses a call that might wait for the device while this thread captures (in a mode that forbids it).
    pub fn no_capture(&mut self, what: &str) -> Result<(), Code> {
        let me = std::thread::current().id();
        let found = self.captures.iter().find(|(_, c)| c.mode == 0 || c.mode == 1 && c.thread == me).map(|(id, _)| *id);
        match found {
            Some(id) => self.break_capture(id, what),
            None => Ok(()),
        }
    }

    fn break_capture(&mut self, id: u64, what: &str) -> Result<(), Code> {
        if let Some(c) = self.captures.get_mut(&id) {
            c.invalid = true;
        }
        self.refuse(FaultKind::Capture, what.into(), code::CAPTURE_UNSUPPORTED)
    }

    /// Begins a capture.
    pub fn begin_capture(&mut self, stream: u64, mode: i32) -> Result<(), Code> {
        if stream <= 2 {
            return self.refuse(FaultKind::Capture, "the default stream cannot be captured".into(), code::CAPTURE_UNSUPPORTED);
        }
        let id = self.handle();
        let s = self.streams.get_mut(&stream).ok_or(code::INVALID_HANDLE)?;
        if s.capture.is_some() {
            return Err(code::INVALID_VALUE);
        }
        s.capture = Some(id);
        let thread = std::thread::current().id();
        let capture = Capture {
            origin: stream,
            thread,
            mode,
            works: Vec::new(),
            streams: vec![stream],
            tails: HashMap::new(),
            invalid: false,
        };
        self.captures.insert(id, capture);
        Ok(())
    }

    /// Ends a capture and returns the recorded work.
    pub fn end_capture(&mut self, stream: u64) -> Result<Vec<Work>, Code> {
        let id = self.streams.get(&stream).ok_or(code::INVALID_HANDLE)?.capture;
        let Some(c) = id.and_then(|id| self.captures.get(&id)) else { return Err(code::INVALID_VALUE) };
        if c.origin != stream {
            return Err(code::CAPTURE_UNMATCHED);
        }
        if c.mode == 1 && c.thread != std::thread::current().id() {
            return Err(code::CAPTURE_WRONG_THREAD);
        }
        let Some(c) = id.and_then(|id| self.captures.remove(&id)) else { return Err(code::INVALID_VALUE) };
        for s in &c.streams {
            if let Some(s) = self.streams.get_mut(s) {
                s.capture = None;
            }
        }
        for e in self.events.values_mut().filter(|e| e.captured.is_some_and(|k| Some(k.0) == id)) {
            e.captured = None;
        }
        if c.invalid {
            return Err(code::CAPTURE_INVALIDATED);
        }
        if c.tails.values().any(|(work, waited)| work > waited) {
            let detail = "a forked stream was not joined before the capture ended".into();
            return self.refuse(FaultKind::Capture, detail, code::CAPTURE_UNJOINED);
        }
        Ok(c.works)
    }

    /// Records an event; in a capture it marks a point of the capture.
    pub fn record(&mut self, event: u64, stream: u64) -> Result<(), Code> {
        self.lane(stream)?;
        let capture = self.streams.get(&stream).and_then(|s| s.capture);
        let tail = capture.and_then(|id| self.captures.get(&id)?.tails.get(&stream).copied()).unwrap_or_default().0;
        let e = self.events.get_mut(&event).ok_or(code::INVALID_HANDLE)?;
        if let Some(id) = capture {
            e.captured = Some((id, stream, tail));
            return Ok(());
        }
        e.captured = None;
        e.ticket += 1;
        e.stream = stream;
        e.asked = false;
        let ticket = e.ticket;
        self.enqueue(stream, Work::Record { event, ticket })
    }

    /// Makes a stream wait for an event; a captured event brings the stream into its capture.
    pub fn wait(&mut self, stream: u64, event: u64) -> Result<(), Code> {
        self.lane(stream)?;
        let e = self.events.get(&event).ok_or(code::INVALID_HANDLE)?;
        let (captured, ticket) = (e.captured, e.ticket);
        let mine = self.streams.get(&stream).and_then(|s| s.capture);
        match (captured, mine) {
            // Never recorded: nothing to wait for.
            (None, _) if ticket == 0 => Ok(()),
            (None, None) => self.enqueue(stream, Work::Wait { event, ticket }),
            (None, Some(id)) => {
                if let Some(c) = self.captures.get_mut(&id) {
                    c.invalid = true;
                }
                let detail = "a capturing stream waits for an event that was recorded outside the capture".into();
                self.refuse(FaultKind::Capture, detail, code::CAPTURE_ISOLATION)
            }
            (Some((id, from, tail)), mine) => {
                if mine.is_some_and(|m| m != id) {
                    return Err(code::CAPTURE_ISOLATION);
                }
                let Some(c) = self.captures.get_mut(&id) else { return Err(code::CAPTURED_EVENT) };
                if mine.is_none() {
                    c.streams.push(stream);
                    c.tails.insert(stream, (1, 0));
                    if let Some(s) = self.streams.get_mut(&stream) {
                        s.capture = Some(id);
                    }
                }
                if let Some(t) = c.tails.get_mut(&from) {
                    t.1 = t.1.max(tail);
                }
                Ok(())
            }
        }
    }
}
