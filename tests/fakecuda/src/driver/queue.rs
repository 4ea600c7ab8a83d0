//! Streams and events: their queued work, and running it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::code::{self, Code};
use super::guard;
use super::state::State;
use crate::machine::{Fault, FaultKind, Launch};
use crate::memory::Kind;
use crate::program::Code as Kernel;

/// One piece of a stream's work.
#[derive(Clone)]
#[allow(missing_docs)]
pub enum Work {
    Kernel {
        kernel: Arc<Kernel>,
        grid: [u32; 3],
        block: [u32; 3],
        shared: u32,
        params: Vec<u8>,
        cooperative: bool,
    },
    Fill {
        to: u64,
        value: u8,
        bytes: u64,
    },
    /// Host bytes, copied at the call.
    Upload {
        to: u64,
        data: Arc<Vec<u8>>,
    },
    /// Between device memory, pinned and managed memory.
    Copy {
        to: u64,
        from: u64,
        bytes: u64,
    },
    Record {
        event: u64,
        ticket: u64,
    },
    Wait {
        event: u64,
        ticket: u64,
    },
    Call {
        function: extern "C" fn(*mut std::ffi::c_void),
        data: u64,
    },
    Free {
        address: u64,
    },
}

/// A stream.
#[derive(Default)]
pub struct Stream {
    /// Not yet run.
    pub queue: VecDeque<Work>,
    /// `CU_STREAM_NON_BLOCKING`.
    pub non_blocking: bool,
    /// The capture it is part of.
    pub capture: Option<u64>,
}

/// An event.
#[derive(Default)]
pub struct Event {
    /// Number of the last record, and the stream it went to.
    pub ticket: u64,
    #[allow(missing_docs)]
    pub stream: u64,
    /// Number of the last record that has run, and when it ran.
    pub done: u64,
    #[allow(missing_docs)]
    pub at: Option<Instant>,
    /// The capture and stream it was last recorded in, and after how much of the stream's work.
    pub captured: Option<(u64, u64, u64)>,
    /// A query has already returned "not ready".
    pub asked: bool,
    /// `CU_EVENT_DISABLE_TIMING`.
    pub untimed: bool,
}

impl State {
    /// The stream whose queue a stream's work goes to: blocking streams and the legacy stream share one order.
    pub fn lane(&self, stream: u64) -> Result<u64, Code> {
        let stream = if stream <= 2 { 0 } else { stream };
        let s = self.streams.get(&stream).ok_or(code::INVALID_HANDLE)?;
        Ok(if s.non_blocking { stream } else { 0 })
    }

    /// Queues work, or adds it to the stream's capture. In eager mode it runs at once.
    pub fn enqueue(&mut self, stream: u64, work: Work) -> Result<(), Code> {
        let lane = self.lane(stream)?;
        if let Some(id) = self.streams.get(&stream).and_then(|s| s.capture) {
            return self.capture_work(id, stream, work);
        }
        if lane == 0 && self.captures.values().any(|c| c.streams.iter().any(|s| self.lane(*s) == Ok(0))) {
            return Err(code::CAPTURE_IMPLICIT);
        }
        // Protected until the copy has run, so that an access that comes too early is found.
        if let (true, Work::Copy { to, .. }) = (self.config.lazy, &work)
            && let Some(r) = self.device.memory.find(*to, 1).filter(|r| r.kind == Kind::Pinned)
        {
            guard::close(r.base, r.bytes);
        }
        if let Some(s) = self.streams.get_mut(&lane) {
            s.queue.push_back(work);
        }
        if !self.config.lazy {
            self.drain(lane);
        }
        Ok(())
    }

    /// Runs a stream's queued work.
    pub fn drain(&mut self, lane: u64) {
        while let Some(work) = self.streams.get_mut(&lane).and_then(|s| s.queue.pop_front()) {
            self.run(work);
        }
    }

    /// Runs everything.
    pub fn drain_all(&mut self) {
        let mut lanes: Vec<u64> = self.streams.keys().copied().collect();
        lanes.sort_unstable();
        for lane in lanes {
            self.drain(lane);
        }
    }

    /// Runs a stream's queue until an event's record has run.
    pub fn reach(&mut self, event: u64, ticket: u64) {
        loop {
            let Some(e) = self.events.get(&event) else { return };
            let lane = self.lane(e.stream).unwrap_or(0);
            if e.done >= ticket {
                return;
            }
            match self.streams.get_mut(&lane).and_then(|s| s.queue.pop_front()) {
                Some(work) => self.run(work),
                None => return,
            }
        }
    }

    fn run(&mut self, work: Work) {
        if self.sticky.is_some() {
            return;
        }
        match work {
            Work::Kernel { kernel, grid, block, shared, params, cooperative } => {
                // A kernel may access pinned memory too.
                guard::open_all();
                let launch = Launch { code: &kernel, grid, block, dynamic_shared: shared, params, cooperative };
                if let Err(fault) = self.device.run(launch) {
                    self.sticky = Some(code::of_fault(fault.kind));
                    self.note(fault);
                }
            }
            Work::Fill { to, value, bytes } => self.put(to, &vec![value; bytes as usize]),
            Work::Upload { to, data } => self.put(to, &data),
            Work::Copy { to, from, bytes } => match self.fetch(from, bytes) {
                Some(data) => self.put(to, &data),
                None => self.lost("source", from, bytes),
            },
            Work::Record { event, ticket } => {
                if let Some(e) = self.events.get_mut(&event) {
                    e.done = e.done.max(ticket);
                    e.at = Some(Instant::now());
                }
            }
            Work::Wait { event, ticket } => self.reach(event, ticket),
            Work::Call { function, data } => function(data as *mut std::ffi::c_void),
            Work::Free { address } => {
                if !self.device.memory.free(address) {
                    self.lost("memory to free", address, 0);
                }
            }
        }
    }

    fn lost(&mut self, what: &str, address: u64, bytes: u64) {
        let detail = format!("{what} of {bytes} bytes: {}", self.device.memory.describe(address));
        self.note(Fault::host(FaultKind::BadArgument, detail));
        self.sticky = Some(code::ILLEGAL_ADDRESS);
    }

    fn put(&mut self, to: u64, data: &[u8]) {
        match self.device.memory.find(to, data.len() as u64).cloned() {
            Some(r) => {
                if r.kind == Kind::Pinned {
                    guard::open(r.base);
                }
                r.write(to, data);
            }
            None => self.lost("target", to, data.len() as u64),
        }
    }

    /// Device bytes.
    pub fn fetch(&mut self, from: u64, bytes: u64) -> Option<Vec<u8>> {
        let r = self.device.memory.find(from, bytes)?.clone();
        if r.kind == Kind::Pinned {
            guard::open(r.base);
        }
        Some(r.read(from, bytes as usize))
    }
}
