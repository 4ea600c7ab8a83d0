//! MIDI ports of the system (ALSA, CoreMIDI, WinMM), through midir. Under JACK, the JACK client has MIDI ports of its own
//! ([`crate::device::jack`]).
//!
//! These systems have no song time. It is read from [`PlaybackClock`] once a millisecond, which is the precision of a tick that is received
//! or sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use midir::{Ignore, MidiIO, MidiInput, MidiInputConnection, MidiOutput, MidiOutputConnection};
use ringbuf::traits::Split;
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::PortEvent;
use crate::clock::{BeatPosition, MidiClockOut, Opened, PlaybackClock};
use crate::control::Control;
use crate::mailbox::MailSender;

/// Time between two reads of the playback clock, and two spans of MIDI clock out.
const LOOK: Duration = Duration::from_millis(1);
/// A larger jump of song time, s, means that the device was opened again.
const JUMP: f64 = 0.1;
/// Beat positions that may be queued.
const POSITIONS: usize = 256;

/// Open ports. Dropping them closes them.
pub struct Ports {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _input: Option<MidiInputConnection<()>>,
    /// Keeps the MIDI thread running where there is no input.
    _unused: Option<MailSender<PortEvent>>,
    about: String,
}

/// What the engine sends to the ports.
pub struct Feed {
    /// Every device that is opened.
    pub opened: Sender<Opened>,
    /// The positions of the beat.
    pub marks: HeapProd<BeatPosition>,
}

/// The names of all inputs and of all outputs.
///
/// # Errors
/// The system has no MIDI; the message says what is missing.
pub fn list() -> Result<(Vec<String>, Vec<String>), String> {
    let (input, output) = systems("sideman")?;
    Ok((names(&input), names(&output)))
}

/// Finds an input and an output by the beginning of the name, else by a part of it, in any case.
///
/// # Errors
/// The system has no MIDI, or no such port; the message lists the ports.
pub fn find(wanted: &str) -> Result<(Option<String>, Option<String>), String> {
    let (ins, outs) = list()?;
    let (input, output) = (index_of(&ins, wanted), index_of(&outs, wanted));
    if input.is_none() && output.is_none() {
        let mut all: Vec<String> = ins.into_iter().chain(outs).collect();
        all.dedup();
        let ports =
            if all.is_empty() { "the system has no MIDI ports".to_owned() } else { format!("the ports are {}", all.join(", ")) };
        return Err(format!("no MIDI port has this name; {ports}"));
    }
    Ok((input.map(|i| ins[i].clone()), output.map(|i| outs[i].clone())))
}

/// Opens the input and the output of a name; one of them may be missing. What the input receives goes to `events`.
///
/// # Errors
/// Those of [`find`], or a port can't be opened.
pub fn open(wanted: &str, control: &Control, mut events: MailSender<PortEvent>) -> Result<(Ports, Feed), String> {
    let (from, to) = find(wanted)?;
    let (mut input, output) = systems("sideman")?;
    input.ignore(Ignore::SysexAndActiveSense);
    // Song time minus the time since `began`, ns.
    let (began, song) = (Instant::now(), Arc::new(AtomicI64::new(0)));
    let wrong = |name: &str, e: &dyn std::fmt::Display| format!("the MIDI port {name} can't be opened: {e}");
    let (input, unused) = match &from {
        Some(name) => {
            let port = port(&input, name).ok_or_else(|| wrong(name, &"it has gone"))?;
            let song = song.clone();
            let receive = move |_: u64, bytes: &[u8], (): &mut ()| {
                let at = began.elapsed().as_secs_f64() + song.load(Ordering::Relaxed) as f64 * 1e-9;
                if let Some(event) = PortEvent::new(at, bytes) {
                    // Full where the MIDI thread has stalled: the clock's follower sees the gap.
                    let _ = events.send(event);
                }
            };
            (Some(input.connect(&port, "midi_in", receive, ()).map_err(|e| wrong(name, &e))?), None)
        }
        None => (None, Some(events)),
    };
    let output = match &to {
        Some(name) => {
            let port = port(&output, name).ok_or_else(|| wrong(name, &"it has gone"))?;
            Some(output.connect(&port, "midi_out").map_err(|e| wrong(name, &e))?)
        }
        None => None,
    };
    let about = format!("MIDI: in {}, out {}", from.as_deref().unwrap_or("none"), to.as_deref().unwrap_or("none"));
    let stop = Arc::new(AtomicBool::new(false));
    let (playback, opened) = PlaybackClock::new();
    let (marks, beats) = HeapRb::new(POSITIONS).split();
    let (ended, control) = (stop.clone(), control.clone());
    let serve = move || serve(&control, output, playback, beats, began, &song, &ended);
    let thread = std::thread::Builder::new()
        .name("midi ports".into())
        .spawn(serve)
        .map_err(|e| format!("the MIDI thread can't be started: {e}"))?;
    Ok((Ports { stop, thread: Some(thread), _input: input, _unused: unused, about }, Feed { opened, marks }))
}

impl Ports {
    /// What was opened, as a line.
    pub fn about(&self) -> &str {
        &self.about
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            crate::join::join(thread);
        }
    }
}

fn systems(client: &str) -> Result<(MidiInput, MidiOutput), String> {
    const ELSE: &str = "under --host jack, Sideman has MIDI ports of its own";
    // ALSA itself would print to the terminal.
    if cfg!(target_os = "linux") && !std::path::Path::new("/dev/snd/seq").exists() {
        return Err(format!("this system has no MIDI: the ALSA sequencer is missing (/dev/snd/seq; modprobe snd-seq); {ELSE}"));
    }
    let wrong = |e: midir::InitError| format!("this system has no MIDI ({e}); {ELSE}");
    Ok((MidiInput::new(client).map_err(wrong)?, MidiOutput::new(client).map_err(wrong)?))
}

fn names<T: MidiIO>(io: &T) -> Vec<String> {
    io.ports().iter().filter_map(|port| io.port_name(port).ok()).collect()
}

fn port<T: MidiIO>(io: &T, name: &str) -> Option<T::Port> {
    io.ports().into_iter().find(|port| io.port_name(port).is_ok_and(|n| n == name))
}

/// The index of the port that a name means.
fn index_of(all: &[String], wanted: &str) -> Option<usize> {
    let (all, wanted): (Vec<String>, String) = (all.iter().map(|n| n.to_lowercase()).collect(), wanted.to_lowercase());
    all.iter().position(|n| n.starts_with(&wanted)).or_else(|| all.iter().position(|n| n.contains(&wanted)))
}

/// Keeps song time, and sends MIDI clock.
fn serve(
    control: &Control,
    mut output: Option<MidiOutputConnection>,
    mut playback: PlaybackClock,
    mut beats: HeapCons<BeatPosition>,
    began: Instant,
    song: &AtomicI64,
    stop: &AtomicBool,
) {
    let (mut clock, mut sent) = (MidiClockOut::default(), 0.0);
    while !stop.load(Ordering::Acquire) && !control.ended() {
        std::thread::sleep(LOOK);
        let now = began.elapsed().as_secs_f64();
        let Some(offset) = playback.look(control, now) else { continue };
        song.store((offset * 1e9) as i64, Ordering::Relaxed);
        let to = now + offset;
        let from = if (to - sent).abs() > JUMP { to - LOOK.as_secs_f64() } else { sent };
        if to <= from {
            continue;
        }
        sent = to;
        let mut lost = None;
        clock.advance(from, to, &mut beats, |_, bytes| {
            if let Some(port) = &mut output {
                lost = port.send(bytes).err().or(lost.take());
            }
        });
        if let Some(e) = lost {
            output = None;
            control.say(format!("the MIDI output has gone ({e}): MIDI clock is no longer sent"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::mailbox;

    #[test]
    fn a_port_is_found_by_the_beginning_or_a_part_of_its_name() {
        let all = ["Midi Through:Midi Through Port-0 14:0", "FCB1010 20:0", "USB Midi 24:0"].map(str::to_owned);
        let at = |name| index_of(&all, name);
        assert_eq!([at("midi"), at("fcb"), at("usb midi"), at("1010"), at("launch")], [Some(0), Some(1), Some(2), Some(1), None]);
    }

    #[test]
    fn an_unknown_port_is_an_error() {
        // With and without a MIDI system.
        let why = find("no such port at all").unwrap_err();
        let (control, _receiver) = Control::new();
        assert_eq!(open("no such port at all", &control, mailbox(1, PortEvent::default).0).err(), Some(why));
    }
}
