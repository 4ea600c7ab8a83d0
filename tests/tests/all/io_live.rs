//! Live play with the committed random model: the same samples whatever the pace, the hops, the device's blocks and the stalls; and
//! nothing that goes wrong stops the clock.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use sideman_engine::live::{Action, Command, Mode, Which};
use sideman_io::control::{Control, Event};
use sideman_io::device::file::{self, Pace};
use sideman_io::live::{DevicePorts, EngineHandle, Live, Told};
use sideman_io::take::{self, Entry};
use sideman_io::{mix, rt};
use sideman_tests::stage;

/// Channels of a slot: three stems, click, left, right.
const C: usize = 6;

fn hop(frames: u32) -> sideman_engine::live::Request {
    stage::now(Command::Hop(frames))
}

/// Plays a file session into `dir`; gives its slots at 32 kHz, from song time 0.
fn files(dir: &Path, samples: &[f32], pace: Pace, frames: u32, events: VecDeque<Entry>) -> Vec<f32> {
    let (mut runner, _control) = stage::runner(stage::config(12), true);
    runner.request(hop(frames));
    runner.record(Some(dir.to_owned()), false).unwrap();
    assert_eq!(runner.channels(), mix::channels(3));
    let mut slots = runner.slots().to_vec();
    file::play(&mut runner, samples, pace, events, |runner| {
        slots.extend_from_slice(runner.slots());
        true
    });
    let said = runner.finish();
    assert!(said.iter().any(|s| s.contains("recorded")), "{said:?}");
    slots
}

#[test]
fn pace_and_hop_change_no_byte_and_a_take_plays_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let samples = &stage::bass(3 * 32_000 + 123, 32_000);
    files(&at("fast"), samples, Pace::Fast, 4, VecDeque::new());
    files(&at("real"), samples, Pace::Real, 4, VecDeque::new());
    files(&at("hops"), samples, Pace::Fast, 7, VecDeque::new());
    assert_eq!(stage::heard(&at("fast")).len(), 7);
    assert_eq!(stage::heard(&at("fast")), stage::heard(&at("real")));
    assert_eq!(stage::heard(&at("fast")), stage::heard(&at("hops")));
    assert_eq!(stage::wav(&at("fast").join("input.wav")), *samples);
    assert_eq!(stage::wav(&at("fast").join("mix.wav")).len(), 2 * samples.len());
    assert!(stage::wav(&at("fast").join("drums.wav")).iter().any(|x| x.abs() > 1e-3), "the band sounds");

    // With requests on the way, as hands make them, taken before odd hops.
    let wishes = [
        (0, Command::Tempo(97.0)),
        (640 * 9, Command::Stem(Which::One(1), Action::Gain(-6.0))),
        (640 * 31, Command::Text { part: 0, text: "funk drums".into(), weight: 1.0 }),
        (640 * 50, Command::Stem(Which::All, Action::Regen)),
        (640 * 77, Command::Mode(Mode::Lead)),
        (640 * 90, Command::Seed(9)),
    ];
    let events = wishes.map(|(at, command)| Entry { at, request: stage::now(command) });
    files(&at("played"), samples, Pace::Fast, 4, events.into());
    assert_ne!(stage::heard(&at("fast")), stage::heard(&at("played")));
    let take::Recorded { info, input, events } = take::read(&at("played")).unwrap();
    assert_eq!(events.len(), 6);
    let (mut runner, _control) = stage::runner(info.config, true);
    runner.record(Some(at("again")), false).unwrap();
    file::play(&mut runner, &input, Pace::Fast, events, |_| true);
    runner.finish();
    assert_eq!(stage::heard(&at("played")), stage::heard(&at("again")));
    assert_eq!(rt::allocations(), 0, "a hop allocated");
}

/// A device under the test's hands.
struct Stage {
    link: EngineHandle,
    line: DevicePorts,
    control: Control,
    engine: std::thread::JoinHandle<Vec<String>>,
    _told: Told,
    rate: u32,
    heard: u64,
}

impl Stage {
    fn new(rate: u32, drag: Option<Box<dyn FnMut(i64) + Send>>, take: Option<std::path::PathBuf>) -> Stage {
        let (mut runner, control) = stage::runner(stage::config(12), false);
        runner.drag = drag;
        if take.is_some() {
            runner.record(take, false).unwrap();
        }
        let (live, link, told) = Live::new(runner);
        let engine = std::thread::spawn(move || live.run());
        let line = link.connect(rate, rate, false).unwrap();
        Stage { link, line, control, engine, _told: told, rate, heard: 0 }
    }

    /// One block in, one block out; waits until the band has played for it unless told not to.
    fn block(&mut self, samples: &[f32], wait: bool, out: &mut Vec<f32>) {
        let Stage { line, heard, .. } = self;
        rt::no_alloc(|| line.input.hear(*heard, samples.iter().copied()));
        self.heard += samples.len() as u64;
        let began = Instant::now();
        while wait && self.line.reader.ready() < samples.len() as u64 {
            assert!(began.elapsed() < Duration::from_secs(120), "the band does not come at frame {}", self.heard);
            std::thread::sleep(Duration::from_micros(200));
        }
        let line = &mut self.line;
        let played = rt::no_alloc(|| line.reader.play(samples.len()));
        out.extend_from_slice(played);
    }

    fn end(self) -> Vec<String> {
        self.control.end();
        self.engine.join().unwrap()
    }
}

#[test]
fn the_blocks_of_the_device_change_nothing() {
    let samples = stage::bass(2 * 48_000, 48_000);
    let mut all = Vec::new();
    for pattern in [&[256][..], &[64, 1024, 17, 333, 4096, 1]] {
        let mut stage = Stage::new(48_000, None, None);
        let (mut out, mut rest) = (Vec::new(), &samples[..]);
        for n in pattern.iter().cycle() {
            let n = (*n).min(rest.len());
            stage.block(&rest[..n], true, &mut out);
            rest = &rest[n..];
            if rest.is_empty() {
                break;
            }
        }
        let health = stage.control.snapshot().health;
        assert_eq!((health.underrun, health.overrun), (0, 0));
        stage.end();
        all.push(out);
    }
    assert_eq!(all[0].len(), samples.len() * C);
    assert!(all[0] == all[1], "blocks of the device changed what was played");
    assert!(all[0].chunks(C).any(|slot| slot[1].abs() > 1e-3), "the drums sound");
    assert_eq!(rt::allocations(), 0, "a callback or a hop allocated");
}

#[test]
fn a_stall_of_five_seconds_is_a_repeated_bar_and_no_lost_time() {
    const RATE: usize = 32_000;
    // At the device's rate of 32 kHz the ring hands on what the session gives: the file session is the reference.
    let dir = tempfile::tempdir().unwrap();
    let samples = stage::bass(14 * RATE, RATE as u32);
    let want = files(&dir.path().join("reference"), &samples, Pace::Fast, 4, VecDeque::new());
    let (go, wait) = channel::<()>();
    let (came, at) = channel::<()>();
    let stall = 4 * RATE as i64;
    let drag = move |time: i64| {
        if (stall..stall + 2560).contains(&time) {
            came.send(()).unwrap();
            wait.recv().unwrap();
        }
    };
    let mut stage = Stage::new(RATE as u32, Some(Box::new(drag)), Some(dir.path().join("take")));
    let (mut out, mut blocks) = (Vec::new(), samples.chunks(320));
    let mut stalled = false;
    for block in blocks.by_ref().take(5 * 100) {
        stalled = stalled || at.try_recv().is_ok();
        stage.block(block, !stalled, &mut out);
        if !stalled && stage.heard as i64 >= stall + 2560 {
            at.recv_timeout(Duration::from_secs(60)).unwrap();
            stalled = true;
        }
    }
    assert!(stalled);
    // Four more seconds without the band: it repeats its last bar (2 s at 120) out of what it has played.
    for block in blocks.by_ref().take(4 * 100) {
        stage.block(block, false, &mut out);
    }
    go.send(()).unwrap();
    let back = stage.heard as usize;
    let began = Instant::now();
    while stage.line.reader.ready() < 320 {
        assert!(began.elapsed() < Duration::from_secs(120), "the band doesn't come back");
        std::thread::sleep(Duration::from_millis(1));
        // Time goes on for the device: it takes in what is late, block by block.
        stage.line.reader.play(0);
    }
    for block in blocks.by_ref().take(300) {
        stage.block(block, true, &mut out);
    }
    let slot = |all: &[f32], t: usize| all[t * C..(t + 1) * C].to_vec();
    let missing = (0..back).rev().take_while(|t| slot(&out, *t) != slot(&want, *t)).count();
    let gone = back - missing;
    assert!((4 * RATE..6 * RATE).contains(&gone), "the band's notes ended at {gone}");
    for t in 0..gone {
        assert_eq!(slot(&out, t), slot(&want, t), "before the stall, at {t}");
    }
    // Past the fade at each seam, the repeated bar is the last one, in phase and with all channels together.
    let bar = 2 * RATE;
    let mut same = 0;
    for t in (gone..back).filter(|t| (t - gone) % bar > 200) {
        let from = t - ((t - gone) / bar + 1) * bar;
        assert_eq!(slot(&out, t), slot(&want, from), "repeated at {t}");
        same += 1;
    }
    assert!(same > 2 * RATE, "{same}");
    let mut worst = 0.0f32;
    for t in back + 200..out.len() / C {
        let away = slot(&out, t).iter().zip(slot(&want, t)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        worst = worst.max(away);
    }
    let after = worst;
    let health = stage.control.snapshot().health;
    assert!(health.underrun as usize >= missing && health.late > 0, "{health:?}");
    // The ladder climbs back by itself: four seconds without a late hop.
    let began = Instant::now();
    let mut rest = stage::bass(60 * RATE, RATE as u32).into_iter();
    while stage.control.snapshot().health.rung > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", stage.control.snapshot().health);
        let block: Vec<f32> = rest.by_ref().take(320).collect();
        stage.block(&block, true, &mut out);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(stage.control.snapshot().health.reason, "");
    stage.end();
    // The take has neither gap nor stall in it.
    let heard = stage::wav(&dir.path().join("take/input.wav"));
    let first = (0..12 * RATE).find(|n| heard[*n] != samples[*n]);
    assert_eq!(first, None, "the stall changed what was heard");
    // The session has no guidance that the runner could leave out, so after the stall it gives what it would have given anyway.
    assert_eq!(after, 0.0, "after the stall the band differs from a session without one");
}

#[test]
fn a_lost_device_stops_neither_clock_nor_band() {
    let mut stage = Stage::new(48_000, None, None);
    let events = stage.control.events();
    let samples = stage::bass(48_000, 48_000);
    let mut out = Vec::new();
    samples.chunks(480).for_each(|block| stage.block(block, true, &mut out));
    let before = stage.control.snapshot().time;
    let began = Instant::now();
    while stage.control.snapshot().time < before + 3 * 32_000 {
        assert!(began.elapsed() < Duration::from_secs(90), "song time stands still without a device");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(began.elapsed() > Duration::from_millis(1500), "and it doesn't run away");
    // It comes back with another rate, in the middle of the song.
    stage.line = stage.link.connect(44_100, 44_100, false).unwrap();
    stage.rate = 44_100;
    stage.heard = stage.line.in_start;
    let back = stage.heard as f64 / f64::from(stage.rate);
    assert!(back > 3.0, "{back} s");
    let mut out = Vec::new();
    stage::bass(44_100, 44_100).chunks(441).for_each(|block| stage.block(block, true, &mut out));
    assert!(out.chunks(C).any(|slot| slot[1].abs() > 1e-3), "the drums sound again");
    assert!(events.try_iter().all(|e| !matches!(e, Event::Said(s) if s.contains("silent for a moment"))));
    stage.end();
}

#[test]
fn no_number_from_the_model_is_music_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(stage::model()).unwrap().flatten() {
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    // Every weight of the language model is finite, and so large that no product is.
    let path = dir.path().join("lm.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let head = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[head..].fill(0x7b);
    std::fs::write(&path, &bytes).unwrap();
    let (mut runner, control) = stage::runner_of(dir.path(), stage::config(12), true);
    let mut out = Vec::new();
    file::play(&mut runner, &stage::bass(2 * 32_000, 32_000), Pace::Fast, VecDeque::new(), |runner| {
        out.extend_from_slice(runner.slots());
        true
    });
    assert!(out.len() >= 2 * 32_000 * C && out.iter().all(|x| x.is_finite()));
    assert!(control.snapshot().health.faults > 0);
}

#[test]
fn a_disk_that_fills_up_stops_the_take_and_not_the_band() {
    let dir = tempfile::tempdir().unwrap();
    // The first flush of this file finds no room.
    std::os::unix::fs::symlink("/dev/full", dir.path().join("events.jsonl")).unwrap();
    let (mut runner, control) = stage::runner(stage::config(12), true);
    let events = control.events();
    runner.record(Some(dir.path().to_owned()), false).unwrap();
    let wish = Entry { at: 32_000 / 640 * 640, request: stage::now(Command::Seed(3)) };
    let mut hops = 0;
    file::play(&mut runner, &stage::bass(3 * 32_000, 32_000), Pace::Fast, [wish].into(), |_| {
        hops += 1;
        true
    });
    assert!(hops >= 37, "{hops} hops");
    let said = runner.finish();
    let told = said.into_iter().chain(events.try_iter().filter_map(|e| match e {
        Event::Said(what) => Some(what),
        Event::Applied { .. } => None,
    }));
    let told: Vec<String> = told.collect();
    assert!(told.iter().any(|s| s.starts_with("recording has stopped") && s.contains("events.jsonl")), "{told:?}");
    // What was written before is there, in full seconds and more.
    let left = stage::wav(&dir.path().join("drums.wav"));
    assert!(left.len() >= 16_000, "{} samples", left.len());
}

#[test]
fn hops_of_changing_length() {
    let dir = tempfile::tempdir().unwrap();
    let samples = stage::bass(6 * 32_000, 32_000);
    let want = files(&dir.path().join("a"), &samples, Pace::Fast, 4, VecDeque::new());
    let (mut runner, _control) = stage::runner(stage::config(12), true);
    let (mut slots, mut n) = (runner.slots().to_vec(), 0);
    file::play(&mut runner, &samples, Pace::Fast, VecDeque::new(), |runner| {
        slots.extend_from_slice(runner.slots());
        n += 1;
        runner.request(hop([4, 8, 1, 25, 3][n / 7 % 5]));
        true
    });
    let n = want.len().min(slots.len());
    let first = (0..n).find(|n| want[*n] != slots[*n]).map(|n| (n / C, n % C, want[n], slots[n]));
    assert_eq!(first, None);
}
