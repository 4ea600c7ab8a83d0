//! Live play with the committed random model: pace, hops, block sizes of the device and stalls change no
//! sample, and no fault stops song time.

use std::cell::Cell;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use sideman_engine::live::{Action, Command, LoadShedding, Mode, Request, SessionConfig, When, Which};
use sideman_io::device::file::{self, Pace};
use sideman_io::event::{EngineEvent, Event, RecordingEvent};
use sideman_io::rt;
use sideman_io::run_mode::RunMode;
use sideman_io::slot_layout::SlotLayout;
use sideman_io::take::{self, Entry};
use sideman_tests::manual_device::ManualDevice;
use sideman_tests::stage;

/// Channels of a slot.
const C: usize = SlotLayout::new(3).channels();

fn hop(frames: u32) -> sideman_engine::live::Request {
    stage::now(Command::Hop(frames))
}

/// Plays a file into a take; returns its slots at 32 kHz, from song time 0.
fn files(dir: &Path, samples: &[f32], pace: Pace, frames: u32, events: VecDeque<Entry>) -> Vec<f32> {
    let (mut runner, _control) = stage::runner(stage::config(12), RunMode::Files);
    runner.request(hop(frames));
    runner.record(Some(dir.to_owned()), None).unwrap();
    assert_eq!(runner.layout().channels(), C);
    let mut slots = runner.slots().to_vec();
    file::play(&mut runner, samples, pace, events, |runner| {
        slots.extend_from_slice(runner.slots());
        true
    });
    let events = runner.finish();
    assert!(matches!(&events[..], [RecordingEvent::Finished { .. }]), "{events:?}");
    slots
}

#[test]
fn pace_and_hop_change_no_byte_and_a_take_replays_exactly() {
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
    assert!(stage::wav(&at("fast").join("drums.wav")).iter().any(|x| x.abs() > 1e-3), "the drums sound");

    // With requests that are taken before odd hops.
    let requests = [
        (0, Command::Tempo(97.0)),
        (640 * 9, Command::Stem(Which::One(1), Action::Gain(-6.0))),
        (640 * 31, Command::Text { part: 0, text: "funk drums".into(), weight: 1.0 }),
        (640 * 50, Command::Stem(Which::All, Action::Regen)),
        (640 * 77, Command::Mode(Mode::Lead)),
        (640 * 90, Command::Seed(9)),
    ];
    let events = requests.map(|(at, command)| Entry { at, request: stage::now(command) });
    files(&at("played"), samples, Pace::Fast, 4, events.into());
    assert_ne!(stage::heard(&at("fast")), stage::heard(&at("played")));
    let take::Take { info, input, events } = take::read(&at("played")).unwrap();
    assert_eq!(events.len(), 6);
    replay(info.config, &input, events, &at("again"));
    assert_eq!(stage::heard(&at("played")), stage::heard(&at("again")));
    assert_eq!(rt::allocations(), 0, "a hop allocated");
}

/// Replays a take into `dir`.
fn replay(config: SessionConfig, input: &[f32], events: VecDeque<Entry>, dir: &Path) {
    let (mut runner, _control) = stage::runner(config, RunMode::Replay);
    runner.record(Some(dir.to_owned()), None).unwrap();
    file::play(&mut runner, input, Pace::Fast, events, |_| true);
    runner.finish();
}

#[test]
fn a_take_whose_texts_were_scheduled_for_bars_replays_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (mut runner, control) =
        stage::runner(SessionConfig { guided: true, cfg_scale: 3.0, ..stage::config(12) }, RunMode::Files);
    runner.record(Some(at("played")), None).unwrap();
    // Before the first hop, a text for bar 1 and one for bar 2, as an OSC script sends them before it starts
    // the session.
    let text = |text: &str| Command::Text { part: 0, text: text.into(), weight: 1.0 };
    for (command, bar) in [(text("funk drums"), 1), (Command::Seed(9), 1), (text("soft pad"), 2)] {
        control.send(Request { command, when: Some(When::AtBar(bar)), from: 1 }).unwrap();
    }
    // The first check of the requests; the second one finds `Play`.
    let looks = Cell::new(0);
    assert!(!runner.wait_for_play(|| looks.replace(looks.get() + 1) > 0));
    control.send(stage::now(Command::Play)).unwrap();
    assert!(runner.wait_for_play(|| false));
    file::play(&mut runner, &stage::bass(5 * 32_000, 32_000), Pace::Fast, VecDeque::new(), |_| true);
    runner.finish();
    let take::Take { info, input, events } = take::read(&at("played")).unwrap();
    let texts = events.iter().filter(|e| matches!(e.request.command, Command::Text { .. }));
    let times: Vec<i64> = texts.map(|e| e.at).collect();
    assert!(matches!(times[..], [0, 56_000..=64_000]), "{times:?}");
    replay(info.config, &input, events, &at("again"));
    assert_eq!(stage::heard(&at("played")), stage::heard(&at("again")));
}

#[test]
fn block_sizes_of_the_device_change_no_sample() {
    let samples = stage::bass(2 * 48_000, 48_000);
    let mut all = Vec::new();
    for pattern in [&[256][..], &[64, 1024, 17, 333, 4096, 1]] {
        let mut stage = ManualDevice::new(48_000, None, None);
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
    assert!(all[0] == all[1], "the block sizes changed what was played");
    assert!(all[0].chunks(C).any(|slot| slot[1].abs() > 1e-3), "the drums sound");
    assert_eq!(rt::allocations(), 0, "a callback or a hop allocated");
}

#[test]
fn a_stall_of_five_seconds_repeats_a_bar_and_loses_no_time() {
    const RATE: usize = 32_000;
    // At 32 kHz nothing is resampled, so a file session is the reference.
    let dir = tempfile::tempdir().unwrap();
    let samples = stage::bass(14 * RATE, RATE as u32);
    let want = files(&dir.path().join("reference"), &samples, Pace::Fast, 4, VecDeque::new());
    let (go, wait) = channel::<()>();
    let (came, at) = channel::<()>();
    let stall = 4 * RATE as i64;
    let before_hop = move |time: i64| {
        if (stall..stall + 2560).contains(&time) {
            came.send(()).unwrap();
            wait.recv().unwrap();
        }
    };
    let mut stage = ManualDevice::new(RATE as u32, Some(Box::new(before_hop)), Some(dir.path().join("take")));
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
    // Four more seconds without new slots: the last bar (2 s at 120 BPM) is repeated.
    for block in blocks.by_ref().take(4 * 100) {
        stage.block(block, false, &mut out);
    }
    go.send(()).unwrap();
    let back = stage.heard as usize;
    let began = Instant::now();
    while stage.ports.output.ready() < 320 {
        assert!(began.elapsed() < Duration::from_secs(120), "no output after the stall");
        std::thread::sleep(Duration::from_millis(1));
        // The device's callback reads late slots in pieces of bounded size.
        stage.ports.output.play(0);
    }
    // All late slots are in the ring now; these calls read them, however fast the engine caught up.
    for _ in 0..16 {
        stage.ports.output.play(0);
    }
    for block in blocks.by_ref().take(300) {
        stage.block(block, true, &mut out);
    }
    let slot = |all: &[f32], t: usize| all[t * C..(t + 1) * C].to_vec();
    let missing = (0..back).rev().take_while(|t| slot(&out, *t) != slot(&want, *t)).count();
    let gone = back - missing;
    assert!((4 * RATE..6 * RATE).contains(&gone), "the slots ended at {gone}");
    for t in 0..gone {
        assert_eq!(slot(&out, t), slot(&want, t), "before the stall, at {t}");
    }
    // After the fade at each seam, the repeated bar is the last one, in phase and with all channels aligned.
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
    // Load shedding ends after four seconds without a late hop.
    let began = Instant::now();
    let mut rest = stage::bass(60 * RATE, RATE as u32).into_iter();
    while stage.control.snapshot().health.shedding > LoadShedding::None {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", stage.control.snapshot().health);
        let block: Vec<f32> = rest.by_ref().take(320).collect();
        stage.block(&block, true, &mut out);
        std::thread::sleep(Duration::from_millis(10));
    }
    stage.end();
    // The take has no gap.
    let heard = stage::wav(&dir.path().join("take/input.wav"));
    let first = (0..12 * RATE).find(|n| heard[*n] != samples[*n]);
    assert_eq!(first, None, "the stall changed what was heard");
    // The session has no guidance that the runner could leave out, so after the stall it gives what it would
    // have given anyway.
    assert_eq!(after, 0.0, "after the stall the band differs from a session without one");
}

/// A computer on which a hop takes 1.4 times the time that it plays, until the model rests.
#[test]
fn what_cannot_be_caught_up_with_is_skipped_and_a_replay_skips_it_too() {
    const RATE: usize = 32_000;
    let dir = tempfile::tempdir().unwrap();
    let slow = Arc::new(AtomicBool::new(true));
    let (is_slow, mut last) = (slow.clone(), 0);
    let before_hop = move |time: i64| {
        let length = (time - std::mem::replace(&mut last, time)) as f64 / RATE as f64;
        if is_slow.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_secs_f64(1.4 * length));
        }
    };
    let mut stage = ManualDevice::new(RATE as u32, Some(Box::new(before_hop)), Some(dir.path().join("take")));
    let events = stage.control.events();
    let (samples, mut out) = (stage::bass(60 * RATE, RATE as u32), Vec::new());
    let (began, mut rested, mut in_time) = (Instant::now(), false, 0);
    for (n, block) in samples.chunks(320).enumerate() {
        std::thread::sleep((Duration::from_millis(10) * n as u32).saturating_sub(began.elapsed()));
        stage.block(block, false, &mut out);
        if events.try_iter().any(|event| matches!(event, Event::Engine(EngineEvent::Rest { .. }))) {
            rested = true;
            slow.store(false, Ordering::Relaxed);
        }
        in_time += usize::from(rested && stage.ports.output.ready() > 0);
        if in_time == 800 {
            break;
        }
    }
    assert!(rested && in_time == 800, "rested: {rested}, blocks in time: {in_time}");
    let drums = out[out.len() - 2 * RATE * C..].chunks(C).any(|slot| slot[1].abs() > 1e-3);
    assert!(drums, "the band does not come in again");
    stage.end();
    let take::Take { info, input, events } = take::read(&dir.path().join("take")).unwrap();
    let rests: Vec<_> = events.iter().map(|e| &e.request.command).filter(|c| matches!(c, Command::Rest(_))).collect();
    assert_eq!(rests[..2], [&Command::Rest(true), &Command::Rest(false)]);
    replay(info.config, &input, events, &dir.path().join("again"));
    assert_eq!(stage::heard(&dir.path().join("take")), stage::heard(&dir.path().join("again")));
}

/// A computer that is too slow for lag 8 in every hop.
#[test]
fn every_frame_that_is_filled_in_and_every_late_hop_is_counted_at_lag_8() {
    const RATE: u32 = 32_000;
    const BLOCK: usize = 320;
    const HOPS: u64 = 20;
    let ((came, begun), (go, wait)) = (channel::<()>(), channel::<()>());
    // Each hop waits until the test has played more than there is.
    let before_hop = move |_: i64| {
        // The test is over.
        let _ = came.send(());
        let _ = wait.recv();
    };
    let mut stage = ManualDevice::with(stage::config(8), RATE, Some(Box::new(before_hop)), None);
    let (samples, mut filled) = (stage::bass(60 * RATE as usize, RATE), 0);
    let mut blocks = samples.chunks_exact(BLOCK);
    let mut play = |stage: &mut ManualDevice| {
        stage.input(blocks.next().unwrap());
        // Meanwhile the engine gives nothing: it waits for input, or for the test.
        filled += BLOCK as u64 - stage.ports.output.ready().min(BLOCK as u64);
        stage.output(BLOCK);
        filled
    };
    let mut filled = 0;
    for hop in 1..=HOPS {
        while begun.recv_timeout(Duration::from_millis(50)).is_err() {
            play(&mut stage);
        }
        while stage.ports.output.ready() > 0 {
            play(&mut stage);
        }
        play(&mut stage);
        filled = play(&mut stage);
        go.send(()).unwrap();
        let asked = Instant::now();
        while stage.control.snapshot().health.late < hop {
            assert!(asked.elapsed() < Duration::from_secs(60), "hop {hop} is not counted as late");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let health = stage.control.snapshot().health.clone();
    assert_eq!((health.late, health.underrun), (HOPS, filled), "{health:?}");
    assert!(filled >= HOPS * 2 * BLOCK as u64);
    drop(go);
    stage.end();
}

#[test]
fn a_lead_that_is_too_short_is_known_before_the_first_hop_and_once() {
    let (mut runner, _control) = stage::runner(stage::config(25), RunMode::Files);
    runner.request(hop(1));
    assert_eq!(runner.rehearse(0.0).unwrap(), None);
    // Devices that take longer than the lead.
    let event = runner.rehearse(1.0).unwrap();
    assert!(matches!(event, Some(EngineEvent::LeadTooShort { needed, lead }) if needed > 1000.0 && lead < 500.0), "{event:?}");
    assert_eq!((runner.time().0, runner.rehearse(1.0).unwrap()), (0, None));
    // The session that plays has not changed.
    let samples = stage::bass(2 * 32_000, 32_000);
    let (mut without, _control) = stage::runner(stage::config(25), RunMode::Files);
    let played = [&mut runner, &mut without].map(|runner| {
        let mut slots = runner.slots().to_vec();
        file::play(runner, &samples, Pace::Fast, VecDeque::new(), |runner| {
            slots.extend_from_slice(runner.slots());
            true
        });
        slots
    });
    assert!(played[0] == played[1], "the rehearsal changed the music");
}

#[test]
fn song_time_goes_on_without_a_device() {
    let mut stage = ManualDevice::new(48_000, None, None);
    let events = stage.control.events();
    let samples = stage::bass(48_000, 48_000);
    let mut out = Vec::new();
    samples.chunks(480).for_each(|block| stage.block(block, true, &mut out));
    let before = stage.control.snapshot().time;
    let began = Instant::now();
    while stage.control.snapshot().time < before + 3 * 32_000 {
        assert!(began.elapsed() < Duration::from_secs(90), "song time does not go on without a device");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(began.elapsed() > Duration::from_millis(1500), "song time runs ahead");
    // The device comes back in mid-song, with another rate.
    stage.ports = stage.handle.connect(44_100, 44_100, false).unwrap();
    stage.rate = 44_100;
    stage.heard = stage.ports.input_start;
    let back = stage.heard as f64 / f64::from(stage.rate);
    assert!(back > 3.0, "{back} s");
    let mut out = Vec::new();
    stage::bass(44_100, 44_100).chunks(441).for_each(|block| stage.block(block, true, &mut out));
    assert!(out.chunks(C).any(|slot| slot[1].abs() > 1e-3), "the drums sound again");
    assert!(events.try_iter().all(|e| !matches!(e, Event::Engine(EngineEvent::HopFailed { .. }))));
    stage.end();
}

#[test]
fn logits_that_are_not_finite_still_give_finite_music() {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(stage::model()).unwrap().flatten() {
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    // Every weight of the language model is finite, but so large that no product of two of them is.
    let path = dir.path().join("lm.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let head = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[head..].fill(0x7b);
    std::fs::write(&path, &bytes).unwrap();
    let (mut runner, control) = stage::runner_of(dir.path(), stage::config(12), RunMode::Files);
    let mut out = Vec::new();
    file::play(&mut runner, &stage::bass(2 * 32_000, 32_000), Pace::Fast, VecDeque::new(), |runner| {
        out.extend_from_slice(runner.slots());
        true
    });
    assert!(out.len() >= 2 * 32_000 * C && out.iter().all(|x| x.is_finite()));
    assert!(control.snapshot().health.faults > 0);
}

#[test]
fn a_full_disk_ends_the_take_and_not_the_session() {
    let dir = tempfile::tempdir().unwrap();
    // Writing to this file fails: no space is left.
    std::os::unix::fs::symlink("/dev/full", dir.path().join("events.jsonl")).unwrap();
    let (mut runner, control) = stage::runner(stage::config(12), RunMode::Files);
    let events = control.events();
    runner.record(Some(dir.path().to_owned()), None).unwrap();
    let request = Entry { at: 32_000 / 640 * 640, request: stage::now(Command::Seed(3)) };
    let mut hops = 0;
    file::play(&mut runner, &stage::bass(3 * 32_000, 32_000), Pace::Fast, [request].into(), |_| {
        hops += 1;
        true
    });
    assert!(hops >= 37, "{hops} hops");
    runner.finish();
    let stopped = events.try_iter().find_map(|event| match event {
        Event::Recording(RecordingEvent::Stopped { error, .. }) => Some(error),
        _ => None,
    });
    assert!(stopped.is_some_and(|error| error.contains("events.jsonl")), "the event names the file");
    // What was written before can be read.
    let left = stage::wav(&dir.path().join("drums.wav"));
    assert!(left.len() >= 16_000, "{} samples", left.len());
}

#[test]
fn hops_of_changing_length_change_no_sample() {
    let dir = tempfile::tempdir().unwrap();
    let samples = stage::bass(6 * 32_000, 32_000);
    let want = files(&dir.path().join("a"), &samples, Pace::Fast, 4, VecDeque::new());
    let (mut runner, _control) = stage::runner(stage::config(12), RunMode::Files);
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
