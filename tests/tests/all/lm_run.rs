//! Runs set side by side: lanes and single lanes, blocks of any size, rollback, tokens that come late.

use serde_json::{Value, json};
use sideman_engine::lm::{Lm, Pattern, Run, RunSpec};
use sideman_engine::model::ModelDir;
use sideman_engine::text::{Hidden, TextEncoder};
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Format, Sampling, UNKNOWN};
use sideman_tests::fixture::{CARD, Fixture};

const DELAYS: [usize; 6] = [0, 0, 0, 1, 2, 3];
const FRAMES: usize = 40;

struct Bench {
    cpu: CpuBackend,
    lm: Lm<CpuBackend>,
    funk: Hidden,
    jazz: Hidden,
}

impl Bench {
    fn new() -> Self {
        Bench::of(Fixture::short())
    }

    fn of(fixture: Fixture) -> Self {
        Bench::leaning(fixture, &json!({}))
    }

    /// Of a model whose stems take such shares of the guidance.
    fn leaning(fixture: Fixture, cfg_scale: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fixture.write(dir.path()).unwrap();
        let mut config = fixture.config();
        config["sampling"]["lean"] = cfg_scale.clone();
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let dir = ModelDir::open(dir.path()).unwrap();
        let mut cpu = CpuBackend::new(2);
        let lm = Lm::load(&mut cpu, &dir, Format::F32).unwrap();
        let mut text = TextEncoder::load(&dir).unwrap().unwrap();
        Bench { cpu, lm, funk: text.encode("funk drums").unwrap(), jazz: text.encode("slow jazz piano").unwrap() }
    }

    fn run(&mut self, spec: &RunSpec) -> Run<CpuBackend> {
        self.lm.run(&mut self.cpu, spec).unwrap()
    }

    /// Plays a run to its end: streams × frames of a song.
    fn play(&mut self, run: &mut Run<CpuBackend>) -> Vec<Vec<Vec<i32>>> {
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

/// Tokens of a made-up player.
fn input_stem(frames: usize) -> Vec<i32> {
    (0..frames).map(|t| ((t * t + 3 * t) % CARD) as i32).collect()
}

#[test]
fn lanes_of_a_batch_are_single_lanes() {
    let mut b = Bench::new();
    let (funk, jazz) = (b.funk.clone(), b.jazz.clone());
    let texts = [Some(&funk), None, Some(&jazz)];
    let mut batch = b.run(&RunSpec { songs: 3, ..spec(&texts, 8) });
    let batch = b.play(&mut batch);
    // Song 0 alone. The dice of the others are those of another song, so they are compared greedily below.
    let mut single = b.run(&spec(&texts[..1], 8));
    assert_eq!(b.play(&mut single)[0], batch[0]);
    assert_ne!(batch[1], batch[2]);

    let greedy = Sampling { temperature: 0.0, ..spec(&[], 1).sampling };
    let mut batch = b.run(&RunSpec { songs: 3, sampling: greedy, ..spec(&texts, 8) });
    let batch = b.play(&mut batch);
    for (song, text) in texts.iter().enumerate() {
        let mut single = b.run(&RunSpec { sampling: greedy, ..spec(std::slice::from_ref(text), 8) });
        assert_eq!(b.play(&mut single)[0], batch[song], "song {song}");
    }
}

#[test]
fn a_null_lane_alone_is_an_unguided_run() {
    // Guidance 1 keeps the conditioned lane, whatever the null lane does.
    let mut b = Bench::new();
    let funk = b.funk.clone();
    let texts = [Some(&funk)];
    let base = spec(&texts, 8);
    let one = Sampling { cfg: 1.0, ..base.sampling };
    let mut guided = b.run(&RunSpec { sampling: one, ..base.clone() });
    let mut single = b.run(&RunSpec { sampling: one, guided: false, ..base.clone() });
    let guided = b.play(&mut guided);
    // null + (cond − null) · 1 rounds where cond alone does not: the draws are the same, the bits of logits need not be.
    assert_eq!(b.play(&mut single), guided);
    let mut strong = b.run(&base);
    assert_ne!(b.play(&mut strong), guided);
}

#[test]
fn a_stem_takes_its_share_of_the_guidance() {
    let play = |cfg_scale: Value, cfg: f32| {
        let mut b = Bench::leaning(Fixture::short(), &cfg_scale);
        let funk = b.funk.clone();
        let texts = [Some(&funk)];
        let base = spec(&texts, 8);
        let mut run = b.run(&RunSpec { sampling: Sampling { cfg, ..base.sampling }, ..base.clone() });
        b.play(&mut run)
    };
    // Guidance 3 by halves is guidance 2, and by nothing none; a stem that isn't named takes all of it.
    assert_eq!(play(json!({"bass": 0.5, "drums": 0.5, "other": 0.5}), 3.0), play(json!({}), 2.0));
    assert_eq!(play(json!({"bass": 0.0, "drums": 0.0, "other": 0.0}), 3.0), play(json!({}), 1.0));
    assert_eq!(play(json!({"bass": 1.0}), 3.0), play(json!({}), 3.0));
    assert_ne!(play(json!({"drums": 0.5}), 3.0), play(json!({}), 3.0));
}

#[test]
fn the_null_lane_is_told_neither_what_guides_nor_what_it_is_deaf_to() {
    let mut b = Bench::of(Fixture { guides: true, ..Fixture::short() });
    let width = 6 * CARD;
    let chords: Vec<i32> = (0..FRAMES as i32).map(|t| 8 * (t / 8)).collect();
    let beats: Vec<i32> = (0..FRAMES as i32).map(|t| t % 48).collect();
    let mut play = |masked: bool, told: bool, guided: bool| {
        let mut run = b.run(&RunSpec { guided, ..spec(&[], 8) });
        run.mask_null_lane(&mut b.cpu, |k| masked && k == 0);
        run.put(&mut b.cpu, 0, 0, 0, &if guided || !masked { input_stem(FRAMES) } else { vec![CARD as i32; FRAMES] }).unwrap();
        for k in 1..6 {
            run.put(&mut b.cpu, 0, k, 0, &input_stem(FRAMES)).unwrap();
        }
        if told {
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
        let both = play(masked, true, true);
        assert_eq!(both[..width], play(false, true, false), "the lane that is told all");
        assert_eq!(both[width..], play(masked, false, false), "the null lane, deaf: {masked}");
        assert_ne!(both[..width], both[width..]);
    }
}

#[test]
fn blocks_of_any_size_give_the_same_bits() {
    let mut b = Bench::new();
    let funk = b.funk.clone();
    let texts = [Some(&funk)];
    let mut expected = None;
    for block in [1, 3, 7, 64] {
        let mut run = b.run(&spec(&texts, block));
        for k in 0..6 {
            run.put(&mut b.cpu, 0, k, 0, &input_stem(17)).unwrap();
        }
        run.put(&mut b.cpu, 0, 0, 17, &input_stem(FRAMES - 17)).unwrap();
        let songs = b.play(&mut run);
        assert_eq!(songs[0][0][17..], input_stem(FRAMES - 17));
        assert_eq!(*expected.get_or_insert(songs.clone()), songs, "block {block}");
    }
}

#[test]
fn rollback_and_replay_is_a_fresh_run() {
    let mut b = Bench::new();
    let funk = b.funk.clone();
    let texts = [Some(&funk)];
    let logits = |b: &mut Bench, run: &mut Run<CpuBackend>| {
        let mut all = vec![0.0; 2 * 6 * CARD];
        run.step(&mut b.cpu, &b.lm);
        run.logits(&mut b.cpu, &mut all);
        all
    };
    let mut run = b.run(&spec(&texts, 8));
    let first = b.play(&mut run);
    // Back to any step: what was drawn after it is drawn again, the same.
    for step in [0, 1, 5, 20, run.at()] {
        run.rollback(&mut b.cpu, step).unwrap();
        let mut column = vec![0; 6];
        if step + 1 < run.grid().steps - 4 {
            run.column(&mut b.cpu, step + 4, &mut column);
            assert_eq!(column[0], UNKNOWN);
        }
        assert_eq!(b.play(&mut run), first, "step {step}");
    }
    // Another bass from frame 10 on, drums kept up to frame 13: as a fresh run that is forced so.
    let bass = input_stem(FRAMES - 10);
    run.rollback(&mut b.cpu, 11).unwrap();
    run.put(&mut b.cpu, 0, 0, 10, &bass).unwrap();
    run.put(&mut b.cpu, 0, 1, 10, &first[0][1][10..14]).unwrap();
    assert!(run.put(&mut b.cpu, 0, 0, 9, &[1]).is_err(), "column 10 is fed");
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
    let (again, fresh) = (b.play(&mut run), b.play(&mut fresh));
    assert_eq!(again, fresh);
    assert_ne!(again, first);
    assert_eq!(again[0][0][10..], bass);
    assert!(run.rollback(&mut b.cpu, usize::MAX).is_err());
}

#[test]
fn tokens_written_just_before_their_column_are_tokens_known_from_the_start() {
    // Live play: the player's stem, 8 frames late in the pattern, is written as it arrives.
    let mut b = Bench::new();
    let funk = b.funk.clone();
    let texts = [Some(&funk)];
    let lag = 8;
    let delays = Pattern::lagged(&DELAYS, &[true, false, false, false, false, false], lag);
    let bass = input_stem(FRAMES);
    let lagged = RunSpec { delays: &delays, ..spec(&texts, 8) };
    let mut known = b.run(&lagged);
    known.put(&mut b.cpu, 0, 0, 0, &bass).unwrap();
    let known = b.play(&mut known);
    let mut live = b.run(&lagged);
    let mut beside = b.run(&lagged);
    loop {
        if let Some(frame) = live.pattern().frame(0, live.at()) {
            live.put(&mut b.cpu, 0, 0, frame, &bass[frame..=frame]).unwrap();
        }
        // A second run is primed beside the first; it disturbs nothing.
        beside.next(&mut b.cpu, &b.lm, 20);
        if !live.step(&mut b.cpu, &b.lm) {
            break;
        }
    }
    // Columns of the very last frame of the bass are never fed, only drawn.
    let last = live.pattern().step(0, FRAMES - 1);
    assert_eq!(last, live.grid().steps - 1);
    let songs = b.songs(&live);
    assert_eq!(songs[0][1..], known[0][1..]);
    // And the lag is heard: without it the band plays something else.
    let mut prompt = b.run(&spec(&texts, 8));
    prompt.put(&mut b.cpu, 0, 0, 0, &bass).unwrap();
    assert_ne!(b.play(&mut prompt)[0][1..], known[0][1..]);
}

#[test]
fn text_and_sampling_can_change_on_the_way() {
    let mut b = Bench::new();
    let (funk, jazz) = (b.funk.clone(), b.jazz.clone());
    let texts = [Some(&funk)];
    let base = RunSpec { text_room: 16, ..spec(&texts, 8) };
    let mut plain = b.run(&base);
    let plain = b.play(&mut plain);
    let mut changed = b.run(&base);
    while changed.at() < 20 {
        changed.next(&mut b.cpu, &b.lm, 20);
    }
    changed.set_text(&mut b.cpu, &b.lm, 0, Some(&jazz)).unwrap();
    let changed = b.play(&mut changed);
    assert_eq!(changed[0][0][..20], plain[0][0][..20]);
    assert_ne!(changed[0], plain[0]);
    let mut other = b.run(&base);
    other.set_sampling(&mut b.cpu, &Sampling { seed: 8, ..base.sampling });
    assert_ne!(b.play(&mut other), plain);
    // Dice are keyed by the song's frame, not by the run's.
    let mut later = b.run(&RunSpec { sampling: Sampling { frame_base: 100, ..base.sampling }, ..base.clone() });
    assert_ne!(b.play(&mut later), plain);
    // A text taken away is a run that never had one.
    let mut without = b.run(&base);
    without.set_text(&mut b.cpu, &b.lm, 0, None).unwrap();
    let mut never = b.run(&RunSpec { texts: &[], ..base.clone() });
    assert_eq!(b.play(&mut without), b.play(&mut never));
    // Room is what the spec asked for.
    let long = Hidden { len: 17, data: vec![0.0; 17 * 32] };
    assert!(other.set_text(&mut b.cpu, &b.lm, 0, Some(&long)).is_err());
}

#[test]
fn what_cannot_be_is_an_error() {
    let mut b = Bench::new();
    let base = spec(&[], 8);
    assert!(b.lm.run(&mut b.cpu, &RunSpec { songs: 0, ..base.clone() }).is_err());
    assert!(b.lm.run(&mut b.cpu, &RunSpec { delays: &[0, 1], ..base.clone() }).is_err());
    let mut run = b.run(&base);
    assert!(run.put(&mut b.cpu, 0, 0, 0, &[CARD as i32]).is_ok(), "the special id is the mask");
    for codes in [&[CARD as i32 + 1][..], &[-2], &[0; FRAMES + 1]] {
        assert!(run.put(&mut b.cpu, 0, 0, 0, codes).is_err());
    }
    // The next column has been drawn: it may be written, but not be unknown again.
    run.step(&mut b.cpu, &b.lm);
    assert!(run.put(&mut b.cpu, 0, 1, 0, &[UNKNOWN]).is_err());
    assert!(run.put(&mut b.cpu, 0, 1, 0, &[3, UNKNOWN]).is_ok());
    let funk = b.funk.clone();
    assert!(run.set_text(&mut b.cpu, &b.lm, 0, Some(&funk)).is_err(), "no room was asked for");
}

#[test]
fn a_file_that_does_not_fit_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let load = || {
        let dir = ModelDir::open(dir.path()).unwrap();
        Lm::load(&mut CpuBackend::new(1), &dir, Format::F32).map(|_| ()).unwrap_err().to_string()
    };
    let config = |fixture: Fixture| std::fs::write(dir.path().join("config.json"), fixture.config().to_string()).unwrap();
    Fixture::short().write(dir.path()).unwrap();
    config(Fixture { text: false, ..Fixture::short() });
    let error = load();
    assert!(error.contains("lm.safetensors") && error.contains("no such tensor"), "{error}");
    Fixture { controls: false, ..Fixture::short() }.write(dir.path()).unwrap();
    config(Fixture::short());
    let error = load();
    assert!(error.contains("control.beat.weight") && error.contains("missing"), "{error}");
    let mut wide = Fixture::short().config();
    wide["lm"]["ffn"] = 256.into();
    std::fs::write(dir.path().join("config.json"), wide.to_string()).unwrap();
    Fixture::short().write(&dir.path().join("other")).unwrap();
    std::fs::copy(dir.path().join("other/lm.safetensors"), dir.path().join("lm.safetensors")).unwrap();
    let error = load();
    assert!(error.contains("transformer.layers.0.linear1.weight") && error.contains("256"), "{error}");
    std::fs::write(dir.path().join("lm.safetensors"), b"not at all").unwrap();
    assert!(load().contains("lm.safetensors"));
}
