//! What `sideman live` prints: a status line per second, and a report at the end as text or JSON.

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};
use sideman_engine::audio::RATE;
use sideman_engine::live::{LoadShedding, Snapshot};
use sideman_io::control::Control;
use sideman_io::event::{RecordingEvent, shedding};
use sideman_io::take::TakeInfo;
use sideman_io::{page, rt};

use super::heard::Heard;
use crate::cli::Live;
use crate::stdout;

/// Prints a line on stderr. A closed terminal is no error.
pub fn print(message: &str) {
    let _ = writeln!(std::io::stderr(), "{message}");
}

/// Prints the state of the session once per second, on a thread of its own: a terminal that takes no text
/// (Ctrl-S) stops neither the engine nor the main thread. It ends when this is dropped.
pub struct StatusLine {
    _alive: Sender<()>,
}

impl StatusLine {
    /// Starts it.
    ///
    /// # Errors
    /// The system makes no thread.
    pub fn start(control: &Control) -> std::io::Result<StatusLine> {
        let (alive, dropped) = channel();
        let control = control.clone();
        std::thread::Builder::new().name("status".into()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = dropped.recv_timeout(Duration::from_secs(1)) {
                print(&status(&control.snapshot()));
            }
        })?;
        Ok(StatusLine { _alive: alive })
    }
}

fn status(s: &Snapshot) -> String {
    let h = &s.health;
    let shed = if h.shedding > LoadShedding::None { format!("  {}", shedding(h.shedding)) } else { String::new() };
    format!(
        "bar {}.{}  {:.1} BPM  load {:.0} %  hop p50 {:.1} p99 {:.1} ms  late {}  underrun {}  overrun {}  xruns {}{shed}",
        s.bar,
        s.beat,
        s.tempo,
        h.load * 100.0,
        h.p50,
        h.p99,
        h.late,
        h.underrun,
        h.overrun,
        h.xruns
    )
}

/// Seconds of music that the input has reached.
fn seconds(info: &TakeInfo, s: &Snapshot) -> f64 {
    s.time.saturating_sub(info.lead) as f64 / f64::from(RATE)
}

fn lead_ms(info: &TakeInfo) -> f64 {
    info.lead as f64 * 1e3 / f64::from(RATE)
}

fn document(info: &TakeInfo, s: &Snapshot, took: Duration, events: &[RecordingEvent], heard: Heard) -> Value {
    let h = &s.health;
    let (beats, chords) = heard.finish();
    json!({
        "seed": info.config.seed, "model": info.model.display().to_string(), "lag": info.config.lag, "lead_ms": lead_ms(info), "seconds": seconds(info, s),
        "took_seconds": took.as_secs_f64(), "hop_ms_p50": h.p50, "hop_ms_p99": h.p99, "load": h.load, "late": h.late,
        "underrun": h.underrun, "overrun": h.overrun, "xruns": h.xruns, "faults": h.faults, "load_shedding": h.shedding as u8, "allocations": cfg!(debug_assertions).then(rt::allocations),
        "latency_in_ms": h.latency_in, "latency_out_ms": h.latency_out, "beats": beats, "chords": chords, "events": events.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// Prints the report at the end of a session.
pub fn finish(args: &Live, info: &TakeInfo, control: &Control, took: Duration, events: &[RecordingEvent], heard: Heard) {
    let last = control.snapshot();
    if args.run.json {
        return stdout::json(&document(info, &last, took, events, heard));
    }
    for event in events {
        stdout::line(event.to_string());
        if let RecordingEvent::Finished { dir, .. } = event
            && dir.join(page::FILE).exists()
        {
            stdout::line(format!("a browser shows and plays it: {}", dir.join(page::FILE).display()));
        }
    }
    stdout::line(format!(
        "seed {}, lag {} frames (lead {:.0} ms), {:.1} s of music in {:.1} s; {}",
        info.config.seed,
        info.config.lag,
        lead_ms(info),
        seconds(info, &last),
        took.as_secs_f64(),
        status(&last)
    ));
}
