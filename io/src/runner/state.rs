//! The snapshot of a session: what the runner adds to the session's own, and how it reaches readers.

use std::time::Duration;

use sideman_engine::audio::RATE;
use sideman_engine::live::{Clock, Pending, Request, Snapshot, When};
use sideman_kernels::Backend;

use super::Runner;
use crate::event::{EngineEvent, Event};
use crate::failover::with_active_slot;

/// Hops between two reads of the backend's count of faults.
const FAULT_CHECK: u64 = 16;
/// Weight of the newest hop in the mean load.
const LOAD_SMOOTHING: f32 = 0.1;

impl<B: Backend> Runner<B> {
    /// The state after the last hop. Whoever runs the runner adds what belongs to the device.
    pub fn snapshot(&mut self) -> &mut Snapshot {
        &mut self.snapshot
    }

    /// Length of a bar in samples at the current tempo; 0 where there is no beat.
    pub fn bar(&self) -> f64 {
        let quarter = 60.0 / self.snapshot.tempo.max(1.0) * RATE as f64;
        match self.snapshot.clock {
            Clock::Free => 0.0,
            _ => quarter * self.snapshot.meter.quarters() as f64,
        }
    }

    /// Fills in the snapshot, with the requests that wait for their bar in the runner.
    pub(super) fn update_snapshot(&mut self) {
        let Runner { failover, snapshot, scheduled, .. } = self;
        with_active_slot!(failover, slot => slot.session.snapshot(snapshot));
        self.bar = snapshot.bar;
        self.stopped_on_link = snapshot.clock == Clock::Link && !snapshot.playing;
        let time = |r: &Request| match r.when {
            Some(When::AtBar(bar)) => with_active_slot!(&*failover, slot => slot.session.bar_at(bar)),
            _ => snapshot.time,
        };
        let waiting: Vec<Pending> = scheduled.iter().map(|r| Pending { command: r.command.clone(), at: time(r) }).collect();
        snapshot.pending.extend(waiting);
        snapshot.pending.sort_by_key(|p| p.at);
    }

    /// Puts the hop's time, the load and the count of faults into the snapshot.
    pub(super) fn measure(&mut self, time: Duration, samples: usize) {
        let ms = self.hop_times.add(time);
        let health = &mut self.snapshot.health;
        (health.p50, health.p99) = (self.hop_times.quantile(0.5), self.hop_times.quantile(0.99));
        let load = ms / (samples as f32 / RATE as f32 * 1e3);
        health.load += (load - health.load) * LOAD_SMOOTHING;
        if self.hops % FAULT_CHECK == 1 {
            let faults = with_active_slot!(&mut self.failover, slot => slot.session.faults(&mut slot.backend));
            if faults > self.snapshot.health.faults {
                self.emit(EngineEvent::NotFinite);
            }
            self.snapshot.health.faults = faults;
        }
    }

    /// Shows the snapshot to all readers.
    pub fn publish(&mut self) {
        self.snapshot.hop = self.hop_frames as u32;
        self.snapshot.recording = self.recording && !self.losing_hops;
        self.snapshot.recorded = if self.recording { self.heard_to() - self.recording_start } else { 0 };
        // A text that is being encoded is pending like all other requests.
        if let Some(request) = self.text.encoding() {
            self.snapshot.pending.push(Pending { command: request.command.clone(), at: self.snapshot.time });
        }
        self.snapshot.text.clone_from(&self.text.text);
        self.controls.publish(&self.snapshot);
    }

    /// Sends an event to all listeners; between files, where nothing waits for this thread, also to the log.
    pub fn emit(&mut self, event: impl Into<Event>) {
        let event = event.into();
        if let (true, Some(message)) = (self.mode.is_offline(), event.message()) {
            tracing::info!("{message}");
        }
        self.controls.tell(event);
    }
}
