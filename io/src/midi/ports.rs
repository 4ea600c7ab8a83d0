//! MIDI ports of the system (ALSA, CoreMIDI, WinMM), by midir, for devices whose audio and MIDI are two systems; JACK has ports of its own
//! (`crate::device::jack`). From its bytes on everything is the same.
//!
//! These systems know no song time: it is read off the device's counter, once a millisecond, which is how well a tick is heard and sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use midir::{Ignore, MidiIO, MidiInput, MidiInputConnection, MidiOutput, MidiOutputConnection};
use ringbuf::traits::Split;
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::{Clock, Heard, Mark};
use crate::control::Control;
use crate::output::Shared;

/// Between two looks at the device's counter, and two stretches of our own clock.
const LOOK: Duration = Duration::from_millis(1);
/// Between two looks at the output's latency.
const LATENCY: Duration = Duration::from_millis(500);
/// Marks that may wait.
const MARKS: usize = 256;
/// s a second by which the song's clock may fall behind the machine's: more than two quartzes differ.
const DRIFT: f64 = 2e-4;
/// A counter that jumps by more than this, s, has begun anew.
const JUMP: f64 = 0.1;

/// Open ports; dropping them closes them.
pub struct Ports {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _input: Option<MidiInputConnection<()>>,
    about: String,
}

/// What the engine tells the ports.
pub struct Feed {
    /// The counter of every device that is opened, and its rate.
    pub played: Sender<(Arc<Shared>, u32)>,
    /// Where the beat lies.
    pub marks: HeapProd<Mark>,
}

/// Names of the inputs and of the outputs that there are.
///
/// # Errors
/// The system has no MIDI at all; why, and what is needed.
pub fn list() -> Result<(Vec<String>, Vec<String>), String> {
    let (input, output) = systems("sideman")?;
    Ok((names(&input), names(&output)))
}

/// Finds a port by the beginning of its name, else by a part of it, whatever its case.
///
/// # Errors
/// No MIDI, or no such port; and which there are.
pub fn find(wanted: &str) -> Result<(Option<String>, Option<String>), String> {
    let (ins, outs) = list()?;
    let (input, output) = (place(&ins, wanted), place(&outs, wanted));
    if input.is_none() && output.is_none() {
        let mut all: Vec<String> = ins.into_iter().chain(outs).collect();
        all.dedup();
        let there = if all.is_empty() { "there is none at all".to_owned() } else { format!("there are {}", all.join(", ")) };
        return Err(format!("no MIDI port of that name; {there}"));
    }
    Ok((input.map(|i| ins[i].clone()), output.map(|i| outs[i].clone())))
}

/// Opens the ports of that name, in and out, as far as there are both. What they hear goes to `heard`.
///
/// # Errors
/// Those of [`find`], or a port is another program's.
pub fn open(wanted: &str, control: &Control, heard: Sender<Heard>) -> Result<(Ports, Feed), String> {
    let (from, to) = find(wanted)?;
    let (mut input, output) = systems("sideman")?;
    // The clock is for us; system exclusive and active sensing are not.
    input.ignore(Ignore::SysexAndActiveSense);
    // Song time less the time since `began`, ns.
    let (began, song) = (Instant::now(), Arc::new(AtomicI64::new(0)));
    let wrong = |name: &str, e: &dyn std::fmt::Display| format!("the MIDI port {name} can't be opened: {e}");
    let input = match &from {
        Some(name) => {
            let port = port(&input, name).ok_or_else(|| wrong(name, &"it is gone"))?;
            let song = song.clone();
            let hear = move |_: u64, bytes: &[u8], (): &mut ()| {
                let at = began.elapsed().as_secs_f64() + song.load(Ordering::Relaxed) as f64 * 1e-9;
                if let Some(message) = Heard::new(at, bytes) {
                    // The hands are gone only where the session is over.
                    let _ = heard.send(message);
                }
            };
            Some(input.connect(&port, "midi_in", hear, ()).map_err(|e| wrong(name, &e))?)
        }
        None => None,
    };
    let output = match &to {
        Some(name) => {
            let port = port(&output, name).ok_or_else(|| wrong(name, &"it is gone"))?;
            Some(output.connect(&port, "midi_out").map_err(|e| wrong(name, &e))?)
        }
        None => None,
    };
    let about = format!("MIDI: in {}, out {}", from.as_deref().unwrap_or("none"), to.as_deref().unwrap_or("none"));
    let stop = Arc::new(AtomicBool::new(false));
    let (played, devices) = channel();
    let (marks, beats) = HeapRb::new(MARKS).split();
    let (ended, told) = (stop.clone(), control.clone());
    let serve = move || serve(&told, output, &devices, beats, began, &song, &ended);
    let thread = std::thread::Builder::new().name("midi ports".into()).spawn(serve).map_err(|e| format!("no thread: {e}"))?;
    Ok((Ports { stop, thread: Some(thread), _input: input, about }, Feed { played, marks }))
}

impl Ports {
    /// In words: what was opened.
    pub fn about(&self) -> &str {
        &self.about
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It panicked: there is nobody to tell.
            let _ = thread.join();
        }
    }
}

fn systems(client: &str) -> Result<(MidiInput, MidiOutput), String> {
    const ELSE: &str = "under --host jack the band has MIDI ports of its own";
    // ALSA would complain to the terminal, in its own words.
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

/// Place of the port that is meant.
fn place(all: &[String], wanted: &str) -> Option<usize> {
    let (all, wanted): (Vec<String>, String) = (all.iter().map(|n| n.to_lowercase()).collect(), wanted.to_lowercase());
    all.iter().position(|n| n.starts_with(&wanted)).or_else(|| all.iter().position(|n| n.contains(&wanted)))
}

/// Keeps song time, and sends our clock.
fn serve(
    control: &Control,
    mut output: Option<MidiOutputConnection>,
    devices: &Receiver<(Arc<Shared>, u32)>,
    mut beats: HeapCons<Mark>,
    began: Instant,
    song: &AtomicI64,
    stop: &AtomicBool,
) {
    let (mut device, mut speaker, mut clock) = (None, Speaker::default(), Clock::default());
    let (mut latency, mut looked) = (0.0, Instant::now());
    let mut sent = 0.0;
    while !stop.load(Ordering::Acquire) && !control.ended() {
        std::thread::sleep(LOOK);
        if let Some(new) = devices.try_iter().last() {
            (device, speaker) = (Some(new), Speaker::default());
        }
        let Some((shared, rate)) = device.as_ref().filter(|d| d.0.running.load(Ordering::Relaxed)) else { continue };
        if looked.elapsed() > LATENCY {
            (latency, looked) = (f64::from(control.snapshot().health.latency_out) * 1e-3, Instant::now());
        }
        let now = began.elapsed().as_secs_f64();
        speaker.look(shared.at.load(Ordering::Relaxed) as f64 / f64::from(*rate) - latency, now);
        let Some(offset) = speaker.offset else { continue };
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
            control.say(format!("the MIDI output is gone ({e}): the clock is not sent any more"));
        }
    }
}

/// Song time at the speaker by the machine's clock, from a counter that moves a block at a time.
#[derive(Debug, Default)]
struct Speaker {
    /// What the counter said last, s.
    at: Option<f64>,
    /// Song time less the machine's; when that was so.
    offset: Option<f64>,
    since: f64,
}

impl Speaker {
    /// The counter (song time at which the next block will be heard, s) as it is at a time.
    fn look(&mut self, at: f64, now: f64) {
        let Some(before) = self.at.replace(at).filter(|before| *before != at) else { return };
        // A block was asked for just now, and what the counter said before is heard as it begins. Who looks late sees too little.
        let seen = before - now;
        let kept = self.offset.map(|offset| offset - DRIFT * (now - self.since));
        self.offset = Some(kept.filter(|kept| (seen - kept).abs() < JUMP).map_or(seen, |kept| kept.max(seen)));
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_by_their_names() {
        let all = ["Midi Through:Midi Through Port-0 14:0", "FCB1010 20:0", "USB Midi 24:0"].map(str::to_owned);
        let at = |name| place(&all, name);
        assert_eq!([at("midi"), at("fcb"), at("usb midi"), at("1010"), at("launch")], [Some(0), Some(1), Some(2), Some(1), None]);
    }

    #[test]
    fn no_port_is_a_sentence() {
        // Where there is no MIDI system, and where there is one without this port.
        let why = find("no such port at all").unwrap_err();
        assert!(why.contains("no MIDI") && (why.contains("--host jack") || why.contains("there")), "{why}");
        let (control, _desk) = Control::new();
        assert_eq!(open("no such port at all", &control, channel().0).err(), Some(why));
    }

    #[test]
    fn song_time_is_read_off_a_counter_that_moves_in_blocks() {
        // Blocks of 256 at 48 kHz, asked for up to 1.5 ms late, looked at every millisecond and a bit; song time began 3 s before.
        let (mut speaker, mut worst) = (Speaker::default(), 0.0f64);
        let block = 256.0 / 48_000.0;
        for n in 0..20_000 {
            let now = f64::from(n) * 1.07e-3;
            let late = |k: i64| (k * 7919 % 16) as f64 * 1e-4;
            let k = (now / block) as i64;
            let begun = if now < k as f64 * block + late(k) { k } else { k + 1 };
            speaker.look(3.0 + begun as f64 * block, now);
            if n > 2000 {
                worst = worst.max((speaker.offset.unwrap() - 3.0).abs());
            }
        }
        assert!(worst < 1.2e-3, "{worst}");
        // The device was opened anew, elsewhere.
        speaker.look(100.0, 30.0);
        speaker.look(100.0 + block, 30.0 + block);
        assert!((speaker.offset.unwrap() - 70.0).abs() < block + 1e-9);
    }
}
