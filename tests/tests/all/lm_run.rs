//! Language model runs that must agree: batches and single songs, blocks of any size, rollback and a new run, tokens written early and
//! late.

use serde_json::{Value, json};
use sideman_engine::Error;
use sideman_engine::lm::{Lm, Pattern, Run, RunSpec};
use sideman_engine::model::ModelDir;
use sideman_engine::text::{Hidden, TextEncoder};
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Format, Sampling, UNKNOWN};
use sideman_tests::fixture::{CARD, Fixture};

const DELAYS: [usize; 6] = [0, 0, 0, 1, 2, 3];
const FRAMES: usize = 40;

struct Setup {
    cpu: CpuBackend,
    lm: Lm<CpuBackend>,
    funk: Hidden,
    jazz: Hidden,
}

impl Setup {
    fn new() -> Self {
        Setup::of(Fixture::short())
    }

    fn of(fixture: Fixture) -> Self {
        Setup::with_cfg_scale(fixture, &json!({}))
    }

    /// A model with the given `cfg_scale` per stem.
    fn with_cfg_scale(fixture: Fixture, cfg_scale: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fixture.write(dir.path()).unwrap();
        let mut config = fixture.config();
        config["sampling"]["cfg_scale"] = cfg_scale.clone();
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let dir = ModelDir::open(dir.path()).unwrap();
        let mut cpu = CpuBackend::new(2);
        let lm = Lm::load(&mut cpu, &dir, Format::F32).unwrap();
        let mut text = TextEncoder::load(&dir).unwrap().unwrap();
        Setup { cpu, lm, funk: text.encode("funk drums").unwrap(), jazz: text.encode("slow jazz piano").unwrap() }
    }

    fn run(&mut self, spec: &RunSpec) -> Run<CpuBackend> {
        self.lm.run(&mut self.cpu, spec).unwrap()
    }

    /// Steps a run to its end. Returns tokens [songs][streams][frames].
    fn finish(&mut self, run: &mut Run<CpuBackend>) -> Vec<Vec<Vec<i32>>> {
        while run.next(&mut self.cpu, &self.lm, usize::MAX) > 0 {}
        self.songs(run)
    }

    fn songs(&mut self, run: &Run<CpuBackend>) -> Vec<Vec<Vec<i32>>> {
        let row = |cpu: &mut CpuBackend, song, k| {
            let mut row = vec![UNKNOWN; run.pattern().frames()];
            run.codes(cpu, song, k, 0, &mut row);
            row
        };
        (0..run.grid().songs).map(|song| (0..6).map(|k| row(&mut self.cpu, song, k)).collect()).collect()
    }
}

fn spec<'a>(texts: &'a [Option<&'a Hidden>], block: usize) -> RunSpec<'a> {
    let sampling = Sampling { temperature: 1.0, top_k: 50, top_p: 0.0, cfg: 3.0, seed: 7, frame_base: 0 };
    RunSpec { songs: 1, guided: true, delays: &DELAYS, frames: FRAMES, texts, text_room: 0, kv: Format::F32, block, sampling }
}

/// Arbitrary tokens for an input stem.
fn input_stem(frames: usize) -> Vec<i32> {
    (0..frames).map(|t| ((t * t + 3 * t) % CARD) as i32).collect()
}

#[test]
fn songs_of_a_batch_are_the_songs_of_single_runs() {
    let mut b = Setup::new();
    let (funk, jazz) = (b.funk.clone(), b.jazz.clone());
    let texts = [Some(&funk), None, Some(&jazz)];
    let mut batch = b.run(&RunSpec { songs: 3, ..spec(&texts, 8) });
    let batch = b.finish(&mut batch);
    // Random numbers depend on the song's index, so only song 0 can be compared here; the others are compared with greedy sampling below.
    let mut single = b.run(&spec(&texts[..1], 8));
    assert_eq!(b.finish(&mut single)[0], batch[0]);
    assert_ne!(batch[1], batch[2]);

    let greedy = Sampling { temperature: 0.0, ..spec(&[], 1).sampling };
    let mut batch = b.run(&RunSpec { songs: 3, sampling: greedy, ..spec(&texts, 8) });
    let batch = b.finish(&mut batch);
    for (song, text) in texts.iter().enumerate() {
        let mut single = b.run(&RunSpec { sampling: greedy, ..spec(std::slice::from_ref(text), 8) });
        assert_eq!(b.finish(&mut single)[0], batch[song], "song {song}");
    }
}

#[test]
fn a_guidance_scale_of_one_gives_the_tokens_of_an_unguided_run() {
    let mut b = Setup::new();
    let funk = b.funk.clone();
    let texts = [Some(&funk)];
    let base = spec(&texts, 8);
    let one = Sampling { cfg: 1.0, ..base.sampling };
    let mut guided = b.run(&RunSpec { sampling: one, ..base.clone() });
    let mut single = b.run(&RunSpec { sampling: one, guided: false, ..base.clone() });
    let guided = b.finish(&mut guided);
    // null + (cond − null) · 1 is rounded, so logits may differ in their last bits. The tokens are equal.
    assert_eq!(b.finish(&mut single), guided);
    let mut strong = b.run(&base);
    assert_ne!(b.finish(&mut strong), guided);
}

#[test]
fn cfg_scale_multiplies_the_guidance_of_a_stem() {
    let sample = |cfg_scale: Value, cfg: f32| {
        let mut b = Setup::with_cfg_scale(Fixture::short(), &cfg_scale);
        let funk = b.funk.clone();
        let texts = [Some(&funk)];
        let base = spec(&texts, 8);
        let mut run = b.run(&RunSpec { sampling: Sampling { cfg, ..base.sampling }, ..base.clone() });
        b.finish(&mut run)
    };
    // A cfg_scale of 0.5 turns guidance 3 into 1 + 0.5 · 2 = 2, and 0 turns it into 1. The default is 1.
    assert_eq!(sample(json!({"bass": 0.5, "drums": 0.5, "other": 0.5}), 3.0), sample(json!({}), 2.0));
    assert_eq!(sample(json!({"bass": 0.0, "drums": 0.0, "other": 0.0}), 3.0), sample(json!({}), 1.0));
    assert_eq!(sample(json!({"bass": 1.0}), 3.0), sample(json!({}), 3.0));
    assert_ne!(sample(json!({"drums": 0.5}), 3.0), sample(json!({}), 3.0));
}

#[test]
fn the_null_lane_lacks_guiding_controls_and_masked_streams() {
    let mut b = Setup::of(Fixture { guides: true, ..Fixture::short() });
    let width = 6 * CARD;
    let chords: Vec<i32> = (0..FRAMES as i32).map(|t| 8 * (t / 8)).collect();
    let beats: Vec<i32> = (0..FRAMES as i32).map(|t| t % 48).collect();
    let mut logits = |masked: bool, controls: bool, guided: bool| {
        let mut run = b.run(&RunSpec { guided, ..spec(&[], 8) });
        run.mask_null_lane(&mut b.cpu, |k| masked && k == 0);
        run.put(&mut b.cpu, 0, 0, 0, &if guided || !masked { input_stem(FRAMES) } else { vec![CARD as i32; FRAMES] }).unwrap();
        for k in 1..6 {
            run.put(&mut b.cpu, 0, k, 0, &input_stem(FRAMES)).unwrap();
        }
        if controls {
            run.control(&mut b.cpu, &b.lm, 0, 0, &beats);
            run.control(&mut b.cpu, &b.lm, 2, 0, &chords);
        }
        let mut logits = vec![0.0; width * if guided { 2 } else { 1 }];
        for _ in 0..20 {
            run.step(&mut b.cpu, &b.lm);
        }
        run.logits(&mut b.cpu, &mut logits);
        logits
    };
    for masked in [false, true] {
        let both = logits(masked, true, true);
        assert_eq!(both[..width], logits(false, true, false), "the conditioned lane");
        assert_eq!(both[width..], logits(masked, false, false), "the null lane; masked: {masked}");
        assert_ne!(both[..width], both[width..]);
    }
}

#[test]
fn blocks_of_any_size_give_the_same_bits() {
    let mut b = Setup::new();
    let funk = b.funk.clone();
    let texts = [Some(&funk)];
    let mut expected = None;
    for block in [1, 3, 7, 64] {
        let mut run = b.run(&spec(&texts, block));
        for k in 0..6 {
            run.put(&mut b.cpu, 0, k, 0, &input_stem(17)).unwrap();
        }
        run.put(&mut b.cpu, 0, 0, 17, &input_stem(FRAMES - 17)).unwrap();
        let songs = b.finish(&mut run);
        assert_eq!(songs[0][0][17..], input_stem(FRAMES - 17));
        assert_eq!(*expected.get_or_insert(songs.clone()), songs, "block {block}");
    }
}

#[test]
fn a_run_after_a_rollback_equals_a_new_run() {
    let mut b = Setup::new();
    let funk = b.funk.clone();
    let texts = [Some(&funk)];
    let logits = |b: &mut Setup, run: &mut Run<CpuBackend>| {
        let mut all = vec![0.0; 2 * 6 * CARD];
        run.step(&mut b.cpu, &b.lm);
        run.logits(&mut b.cpu, &mut all);
        all
    };
    let mut run = b.run(&spec(&texts, 8));
    let first = b.finish(&mut run);
    // After a rollback to any step the same tokens are sampled again.
    for step in [0, 1, 5, 20, run.at()] {
        run.rollback(&mut b.cpu, step).unwrap();
        let mut column = vec![0; 6];
        if step + 1 < run.grid().steps - 4 {
            run.column(&mut b.cpu, step + 4, &mut column);
            assert_eq!(column[0], UNKNOWN);
        }
        assert_eq!(b.finish(&mut run), first, "step {step}");
    }
    // Another bass from frame 10 on, drums kept up to frame 13: equal to a new run with these tokens given.
    let bass = input_stem(FRAMES - 10);
    run.rollback(&mut b.cpu, 11).unwrap();
    run.put(&mut b.cpu, 0, 0, 10, &bass).unwrap();
    run.put(&mut b.cpu, 0, 1, 10, &first[0][1][10..14]).unwrap();
    assert!(run.put(&mut b.cpu, 0, 0, 9, &[1]).is_err(), "column 10 is already computed");
    let mut fresh = b.run(&spec(&texts, 8));
    for k in 0..6 {
        let known = 11 - 1 - DELAYS[k] + 1;
        fresh.put(&mut b.cpu, 0, k, 0, &first[0][k][..known]).unwrap();
    }
    fresh.put(&mut b.cpu, 0, 0, 10, &bass).unwrap();
    fresh.put(&mut b.cpu, 0, 1, 10, &first[0][1][10..14]).unwrap();
    while run.at() < 30 {
        run.next(&mut b.cpu, &b.lm, 30);
    }
    while fresh.at() < 30 {
        fresh.next(&mut b.cpu, &b.lm, 30);
    }
    assert_eq!(logits(&mut b, &mut run), logits(&mut b, &mut fresh));
    let (again, fresh) = (b.finish(&mut run), b.finish(&mut fresh));
    assert_eq!(again, fresh);
    assert_ne!(again, first);
    assert_eq!(again[0][0][10..], bass);
    assert!(run.rollback(&mut b.cpu, usize::MAX).is_err());
}

#[test]
fn tokens_written_just_before_their_column_act_as_if_written_at_the_start() {
    // In live play the input stem's tokens are written as they arrive, 8 frames late in the pattern.
    let mut b = Setup::new();
    let funk = b.funk.clone();
    let texts = [Some(&funk)];
    let lag = 8;
    let delays = Pattern::lagged(&DELAYS, &[true, false, false, false, false, false], lag);
    let bass = input_stem(FRAMES);
    let lagged = RunSpec { delays: &delays, ..spec(&texts, 8) };
    let mut known = b.run(&lagged);
    known.put(&mut b.cpu, 0, 0, 0, &bass).unwrap();
    let known = b.finish(&mut known);
    let mut live = b.run(&lagged);
    let mut beside = b.run(&lagged);
    loop {
        if let Some(frame) = live.pattern().frame(0, live.at()) {
            live.put(&mut b.cpu, 0, 0, frame, &bass[frame..=frame]).unwrap();
        }
        // A second run on the same backend doesn't change the first.
        beside.next(&mut b.cpu, &b.lm, 20);
        if !live.step(&mut b.cpu, &b.lm) {
            break;
        }
    }
    // The column of the bass's last frame is the last one, so no other column depends on it.
    let last = live.pattern().step(0, FRAMES - 1);
    assert_eq!(last, live.grid().steps - 1);
    let songs = b.songs(&live);
    assert_eq!(songs[0][1..], known[0][1..]);
    // Without the lag the other streams are different.
    let mut prompt = b.run(&spec(&texts, 8));
    prompt.put(&mut b.cpu, 0, 0, 0, &bass).unwrap();
    assert_ne!(b.finish(&mut prompt)[0][1..], known[0][1..]);
}

#[test]
fn text_and_sampling_can_change_during_a_run() {
    let mut b = Setup::new();
    let (funk, jazz) = (b.funk.clone(), b.jazz.clone());
    let texts = [Some(&funk)];
    let base = RunSpec { text_room: 16, ..spec(&texts, 8) };
    let mut plain = b.run(&base);
    let plain = b.finish(&mut plain);
    let mut changed = b.run(&base);
    while changed.at() < 20 {
        changed.next(&mut b.cpu, &b.lm, 20);
    }
    changed.set_text(&mut b.cpu, &b.lm, 0, Some(&jazz)).unwrap();
    let changed = b.finish(&mut changed);
    assert_eq!(changed[0][0][..20], plain[0][0][..20]);
    assert_ne!(changed[0], plain[0]);
    let mut other = b.run(&base);
    other.set_sampling(&mut b.cpu, &Sampling { seed: 8, ..base.sampling });
    assert_ne!(b.finish(&mut other), plain);
    // Random numbers depend on the frame of the song, not of the run.
    let mut later = b.run(&RunSpec { sampling: Sampling { frame_base: 100, ..base.sampling }, ..base.clone() });
    assert_ne!(b.finish(&mut later), plain);
    // Removing the text before the first step equals a run without a text.
    let mut without = b.run(&base);
    without.set_text(&mut b.cpu, &b.lm, 0, None).unwrap();
    let mut never = b.run(&RunSpec { texts: &[], ..base.clone() });
    assert_eq!(b.finish(&mut without), b.finish(&mut never));
    // A text longer than `text_room` is an error.
    let long = Hidden { len: 17, data: vec![0.0; 17 * 32] };
    assert!(other.set_text(&mut b.cpu, &b.lm, 0, Some(&long)).is_err());
}

#[test]
fn invalid_arguments_of_a_run_are_errors() {
    let mut b = Setup::new();
    let base = spec(&[], 8);
    assert!(b.lm.run(&mut b.cpu, &RunSpec { songs: 0, ..base.clone() }).is_err());
    assert!(b.lm.run(&mut b.cpu, &RunSpec { delays: &[0, 1], ..base.clone() }).is_err());
    let mut run = b.run(&base);
    assert!(run.put(&mut b.cpu, 0, 0, 0, &[CARD as i32]).is_ok(), "the special id masks a token");
    for codes in [&[CARD as i32 + 1][..], &[-2], &[0; FRAMES + 1]] {
        assert!(run.put(&mut b.cpu, 0, 0, 0, codes).is_err());
    }
    // The next column has been sampled: its tokens can be replaced, but not become unknown.
    run.step(&mut b.cpu, &b.lm);
    assert!(run.put(&mut b.cpu, 0, 1, 0, &[UNKNOWN]).is_err());
    assert!(run.put(&mut b.cpu, 0, 1, 0, &[3, UNKNOWN]).is_ok());
    let funk = b.funk.clone();
    assert!(run.set_text(&mut b.cpu, &b.lm, 0, Some(&funk)).is_err(), "text_room is 0");
}

#[test]
fn a_file_that_does_not_fit_the_configuration_is_an_error_that_names_file_and_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let load = || {
        let dir = ModelDir::open(dir.path()).unwrap();
        Lm::load(&mut CpuBackend::new(1), &dir, Format::F32).map(|_| ()).unwrap_err()
    };
    let config = |fixture: Fixture| std::fs::write(dir.path().join("config.json"), fixture.config().to_string()).unwrap();
    Fixture::short().write(dir.path()).unwrap();
    config(Fixture { text: false, ..Fixture::short() });
    let file = dir.path().join("lm.safetensors");
    let error = load();
    assert!(matches!(&error, Error::Tensor { path, .. } if *path == file), "{error}");
    Fixture { controls: false, ..Fixture::short() }.write(dir.path()).unwrap();
    config(Fixture::short());
    let error = load();
    assert!(matches!(&error, Error::Tensor { name, .. } if name == "control.beat.weight"), "{error}");
    let mut wide = Fixture::short().config();
    wide["lm"]["ffn"] = 256.into();
    std::fs::write(dir.path().join("config.json"), wide.to_string()).unwrap();
    Fixture::short().write(&dir.path().join("other")).unwrap();
    std::fs::copy(dir.path().join("other/lm.safetensors"), dir.path().join("lm.safetensors")).unwrap();
    let error = load();
    let named = |name: &str, what: &str| name == "transformer.layers.0.linear1.weight" && what.contains("256");
    assert!(matches!(&error, Error::Tensor { name, what, .. } if named(name, what)), "{error}");
    std::fs::write(dir.path().join("lm.safetensors"), b"not at all").unwrap();
    let error = load();
    assert!(matches!(&error, Error::File { path, .. } if *path == file), "{error}");
}
