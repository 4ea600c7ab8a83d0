//! The offline tasks (generate, edit, continue, lagged) on fixture models: which stems are kept and which are generated, their lengths, and
//! what the generated ones depend on.

use std::ops::ControlFlow;

use sideman_engine::Error;
use sideman_engine::lm::RunSpec;
use sideman_engine::model::Model;
use sideman_engine::model::{Config, ModelDir};
use sideman_engine::task::{Chart, Continue, Edit, Generate, Lagged, Meter, Progress, Settings, Song};
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Format, Sampling};
use sideman_tests::fixture::Fixture;
use sideman_tests::golden;

struct Setup {
    cpu: CpuBackend,
    model: Model<CpuBackend>,
}

impl Setup {
    fn new(fixture: Fixture) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fixture.write(dir.path()).unwrap();
        let mut cpu = CpuBackend::new(2);
        let model = Model::load(&mut cpu, &ModelDir::open(dir.path()).unwrap(), Format::F32).unwrap();
        Setup { cpu, model }
    }

    fn short() -> Self {
        Setup::new(Fixture::short())
    }

    fn config(&self) -> Config {
        self.model.config().clone()
    }

    fn settings(&self) -> Settings {
        Settings::new(self.model.config())
    }

    fn generate(&mut self, seconds: f64, settings: Settings) -> Vec<Song> {
        Generate { seconds, settings }.render(&mut self.model, &mut self.cpu, &mut no_stop).unwrap()
    }

    fn edit(&mut self, edit: &Edit) -> Vec<Song> {
        edit.render(&mut self.model, &mut self.cpu, &mut no_stop).unwrap()
    }
}

fn no_stop(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A plucked bass line of two notes.
fn bass(len: usize) -> Vec<f32> {
    let pluck = |i: usize| {
        let t = i as f32 / 32000.0;
        0.5 * (-4.0 * (t % 0.5)).exp() * (t * 2.0 * std::f32::consts::PI * if t % 1.0 < 0.5 { 55.0 } else { 73.4 }).sin()
    };
    (0..len).map(pluck).collect()
}

#[test]
fn a_song_depends_on_seed_text_guidance_and_chart_but_not_on_the_block_size() {
    let mut s = Setup::short();
    let settings = Settings { text: "funk drums".into(), seed: 3, ..s.settings() };
    let song = &s.generate(0.51, settings.clone())[0];
    assert_eq!(song.stems.iter().map(Vec::len).collect::<Vec<_>>(), [16320; 3]);
    assert_eq!(song.kept, [false; 3]);
    assert!(song.codes.iter().all(|row| row.len() == 26));
    assert!(song.stems.iter().all(|stem| stem.iter().any(|v| v.abs() > 1e-3)));
    assert_eq!(s.generate(0.51, Settings { block: 3, ..settings.clone() })[0], *song);
    let chart = Chart::new(120.0, 0.0, Meter::FourFour).unwrap().with_chords("Em C").unwrap();
    for other in [
        Settings { seed: 4, ..settings.clone() },
        Settings { text: "slow jazz".into(), ..settings.clone() },
        Settings { cfg: 1.0, ..settings.clone() },
        Settings { chart: Some(chart), ..settings.clone() },
    ] {
        assert_ne!(s.generate(0.51, other)[0].codes, song.codes);
    }
}

#[test]
fn a_variation_does_not_depend_on_the_number_of_variations() {
    let mut s = Setup::short();
    let settings = Settings { text: "rock bass".into(), variations: 3, ..s.settings() };
    let three = s.generate(0.5, settings.clone());
    let two = s.generate(0.5, Settings { variations: 2, ..settings });
    assert_eq!(three[..2], two);
    assert_ne!(three[0].codes, three[1].codes);
    assert_ne!(three[1].codes, three[2].codes);
}

#[test]
fn a_song_longer_than_a_run_is_generated_in_overlapping_windows() {
    // Windows of 120 frames, one every 72 frames. 6 s are 300 frames.
    let mut s = Setup::short();
    let mut last = Progress { done: 0, total: 0 };
    let generate = Generate { seconds: 6.0, settings: s.settings() };
    let songs = generate.render(&mut s.model, &mut s.cpu, &mut |p| {
        assert!(p.done >= last.done.saturating_sub(120 - 72) && p.total == 300);
        last = p;
        ControlFlow::Continue(())
    });
    let song = &songs.unwrap()[0];
    assert_eq!(song.stems[2].len(), 192_000);
    assert_eq!(last.done, 300);
    // Random numbers depend on the frame of the song, so windows don't repeat each other.
    for row in &song.codes {
        assert_ne!(row[0..60], row[72..132]);
        assert_ne!(row[120..180], row[192..252]);
    }
    // The first window doesn't depend on the length of the song.
    let short = &s.generate(2.4, generate.settings.clone())[0];
    assert_eq!(short.codes.iter().map(|r| &r[..]).collect::<Vec<_>>(), song.codes.iter().map(|r| &r[..120]).collect::<Vec<_>>());
}

#[test]
fn random_numbers_depend_on_the_frame_of_the_song() {
    // At a temperature of 100 the tokens depend on the random numbers almost alone, so a song in windows has nearly the tokens of a song in
    // one run.
    let hot = |s: &Setup| Settings { temperature: 100.0, top_k: 0, ..s.settings() };
    let mut windows = Setup::short();
    let settings = hot(&windows);
    let windows = &windows.generate(6.0, settings)[0];
    let mut whole = Setup::new(Fixture::default());
    let settings = hot(&whole);
    let whole = &whole.generate(6.0, settings)[0];
    let same = |a: &[i32], b: &[i32]| a.iter().zip(b).filter(|(x, y)| x == y).count() as f64 / a.len() as f64;
    for k in 0..6 {
        assert!(same(&windows.codes[k], &whole.codes[k]) > 0.8, "stream {k}");
        assert!(same(&whole.codes[k][..228], &whole.codes[k][72..]) < 0.1, "stream {k} repeats itself");
    }
}

#[test]
fn an_edit_keeps_the_given_stem_and_generates_the_others_from_it() {
    let mut s = Setup::short();
    let config = s.config();
    let bass = bass(40_001);
    let edit = Edit { settings: s.settings(), ..Edit::new(&config, vec![Some(&bass), None, None]) };
    let song = &s.edit(&edit)[0];
    assert_eq!(song.stems[0], bass, "the kept stem has changed");
    assert_eq!((song.kept.clone(), song.stems[1].len(), song.stems[2].len()), (vec![true, false, false], 40_001, 40_001));
    // Its codes are those of the stem, padded with silence to the window's end.
    let mut padded = bass.clone();
    padded.resize(100 * 640, 0.0);
    assert_eq!(song.codes[0], s.model.encode(&mut s.cpu, 0, &padded).unwrap()[0][..63]);
    // Another bass gives other drums.
    let quiet: Vec<f32> = bass.iter().map(|v| v * 0.01).collect();
    let other = &s.edit(&Edit { given: vec![Some(&quiet), None, None], ..edit.clone() })[0];
    assert_ne!(other.codes[1], song.codes[1]);
    // Through the codec, if requested.
    let coded = &s.edit(&Edit { settings: Settings { recode_given: true, ..s.settings() }, ..edit.clone() })[0];
    assert_eq!((coded.codes == song.codes, coded.kept[0], coded.stems[0] == bass), (true, false, false));
    // The drums can be given to a second edit.
    let second = Edit { given: vec![Some(&bass), Some(&song.stems[1]), None], ..edit.clone() };
    let second = &s.edit(&second)[0];
    assert_eq!((&second.stems[0], &second.stems[1]), (&bass, &song.stems[1]));
    assert_eq!(second.stems[2].len(), 40_001);
}

#[test]
fn an_edit_uses_the_token_grid_of_the_specification() {
    // The same edit as an explicit run: the prefix (every fifth frame), a transition frame, the target, and the controls of each
    // (docs/explanation/musicgen-stem.md section 8.1).
    let mut s = Setup::short();
    let config = s.config();
    let bass = bass(63 * 640);
    let chart = Chart::new(117.0, 0.1, Meter::FourFour).unwrap().with_chords("Em C,D").unwrap();
    let settings = Settings { chart: Some(chart.clone()), seed: 5, text: "warm bass".into(), ..s.settings() };
    let song = &s.edit(&Edit { settings, ..Edit::new(&config, vec![Some(&bass), None, None]) })[0];

    let mut padded = bass.clone();
    padded.resize(100 * 640, 0.0);
    let codes = &s.model.encode(&mut s.cpu, 0, &padded).unwrap()[0];
    let text = s.model.text.as_mut().unwrap().encode("warm bass").unwrap();
    let sampling = Sampling { temperature: 1.0, top_k: 250, top_p: 0.0, cfg: 3.0, seed: 5, frame_base: -21 };
    let texts = [Some(&text)];
    let spec = RunSpec {
        songs: 1,
        guided: true,
        delays: &[0, 0, 0, 1, 2, 3],
        frames: 20 + 1 + 63,
        texts: &texts,
        text_room: 0,
        kv: Format::F32,
        block: 1,
        sampling,
    };
    let (lm, cpu) = (&s.model.lm, &mut s.cpu);
    let mut run = lm.run(cpu, &spec).unwrap();
    for i in 0..20 {
        run.put(cpu, 0, 0, i, &codes[5 * i..=5 * i]).unwrap();
        for (c, name) in ["beat", "tick", "chord"].iter().enumerate() {
            run.control(cpu, lm, c, i, &[chart.control(name, 5 * i as i64).unwrap_or(-1)]);
        }
    }
    for k in 0..6 {
        run.put(cpu, 0, k, 20, &[64]).unwrap();
        if k > 0 {
            run.put(cpu, 0, k, 0, &[64; 20]).unwrap();
        }
    }
    run.put(cpu, 0, 0, 21, &codes[..63]).unwrap();
    for t in 0..63 {
        for (c, name) in ["beat", "tick", "chord"].iter().enumerate() {
            run.control(cpu, lm, c, 21 + t, &[chart.control(name, t as i64).unwrap_or(-1)]);
        }
    }
    while run.step(cpu, lm) {}
    for k in 0..6 {
        let mut row = vec![0; 63];
        run.codes(cpu, 0, k, 21, &mut row);
        assert_eq!(row, song.codes[k], "stream {k}");
    }
}

#[test]
fn redo_texture_and_free_generate_the_chosen_streams_and_keep_the_others() {
    let mut s = Setup::short();
    let config = s.config();
    let song = s.generate(1.0, s.settings())[0].clone();
    let given: Vec<Option<&[f32]>> = song.stems.iter().map(|stem| Some(&stem[..])).collect();
    let edit = Edit { settings: Settings { seed: 9, ..s.settings() }, ..Edit::new(&config, given) };
    let codes = s.edit(&edit.clone().redo(&config, "bass").unwrap())[0].codes.clone();

    let redo = &s.edit(&edit.clone().redo(&config, "drums").unwrap())[0];
    assert_eq!(redo.kept, [true, false, true]);
    assert_eq!(
        (&redo.codes[0], &redo.codes[2..]),
        (&s.model.encode(&mut s.cpu, 0, &pad(&song.stems[0])).unwrap()[0][..50].to_vec(), &codes[2..])
    );
    assert_eq!((&redo.stems[0], &redo.stems[2]), (&song.stems[0], &song.stems[2]));

    // Levels 3 and 4 of other (streams 4 and 5) are new; the other streams are kept.
    let texture = &s.edit(&edit.clone().texture(&config, "other", 3..=4).unwrap())[0];
    assert_eq!(texture.kept, [true, true, false]);
    assert_eq!(texture.codes[1..4], [redo_drums(&mut s, &song), codes[2].clone(), codes[3].clone()]);
    assert_ne!(texture.codes[4..], codes[4..]);
    for (stem, levels) in [("other", 1..=4), ("other", 2..=3), ("bass", 2..=2), ("flute", 2..=4)] {
        assert!(edit.clone().texture(&config, stem, levels).is_err(), "{stem}");
    }

    let free = &s.edit(&Edit { free: true, ..edit.clone() })[0];
    assert_eq!(free.kept, [false; 3]);
    assert!((0..6).all(|k| free.codes[k] != codes[k]));
    assert!(edit.clone().redo(&config, "flute").is_err());
}

fn pad(stem: &[f32]) -> Vec<f32> {
    let mut padded = stem.to_vec();
    padded.resize(100 * 640, 0.0);
    padded
}

fn redo_drums(s: &mut Setup, song: &Song) -> Vec<i32> {
    s.model.encode(&mut s.cpu, 1, &pad(&song.stems[1])).unwrap()[0][..50].to_vec()
}

#[test]
fn an_edit_longer_than_a_window_is_generated_in_overlapping_windows() {
    // Windows of 100 frames, one every 80 frames, the last one at the end: 231 frames have windows at 0, 80 and 131.
    let mut s = Setup::short();
    let config = s.config();
    let bass = bass(231 * 640 - 5);
    let edit = Edit { settings: s.settings(), ..Edit::new(&config, vec![Some(&bass), None, None]) };
    let mut frames = vec![];
    let song = edit.render(&mut s.model, &mut s.cpu, &mut |p| {
        frames.push(p.done);
        ControlFlow::Continue(())
    });
    let song = &song.unwrap()[0];
    assert_eq!(song.stems.iter().map(Vec::len).collect::<Vec<_>>(), [231 * 640 - 5; 3]);
    assert_eq!(frames.last(), Some(&231));
    assert_eq!(song.codes[0], s.model.encode(&mut s.cpu, 0, &bass).unwrap()[0]);
    // The first window depends on the bass's first 100 frames only (and on the encoder's look-ahead).
    let first = Edit { given: vec![Some(&bass[..100 * 640]), None, None], ..edit.clone() };
    let first = &s.edit(&first)[0];
    assert_eq!(first.codes[1][..90], song.codes[1][..90]);
}

#[test]
fn lagged_stems_depend_on_the_input_stem_up_to_the_lag() {
    let mut s = Setup::short();
    let bass = bass(190 * 640);
    let lagged = Lagged { given: vec![Some(&bass), None, None], lag: 8, settings: s.settings() };
    let song = &lagged.render(&mut s.model, &mut s.cpu, &mut no_stop).unwrap()[0];
    assert_eq!((&song.stems[0], song.stems[1].len()), (&bass, 190 * 640));
    // A change of the bass at frame 60 changes nothing before frame 68 (67 with the encoder's look-ahead).
    let mut changed = bass.clone();
    changed[60 * 640..].iter_mut().for_each(|v| *v *= -0.3);
    let other = Lagged { given: vec![Some(&changed), None, None], ..lagged.clone() };
    let other = &other.render(&mut s.model, &mut s.cpu, &mut no_stop).unwrap()[0];
    let differs = (0..190).find(|&t| other.codes[0][t] != song.codes[0][t]).unwrap();
    assert!((58..=61).contains(&differs), "{differs}");
    for k in 1..6 {
        let first = (0..190).find(|&t| other.codes[k][t] != song.codes[k][t]).unwrap_or(190);
        let delay = [0, 0, 0, 1, 2, 3][k];
        assert!(first + delay >= differs + 8, "stream {k} at frame {first}: bass at {differs}");
        assert!(first < 190, "stream {k} never changes");
    }
    // Another lag gives another song.
    let shorter = Lagged { lag: 4, ..lagged.clone() }.render(&mut s.model, &mut s.cpu, &mut no_stop).unwrap();
    assert_ne!(shorter[0].codes[1], song.codes[1]);
    let error = |s: &mut Setup, lagged: &Lagged| match lagged.render(&mut s.model, &mut s.cpu, &mut no_stop) {
        Err(Error::Input(what)) => what,
        other => panic!("{other:?}"),
    };
    assert!(error(&mut s, &Lagged { lag: 20, ..lagged.clone() }).contains("lag"));
    error(&mut s, &Lagged { given: vec![Some(&bass); 3], ..lagged.clone() });
    let mut unlagged = Setup::new(Fixture { lagged: false, ..Fixture::short() });
    error(&mut unlagged, &lagged);
}

#[test]
fn a_continued_song_keeps_its_beginning() {
    let mut s = Setup::short();
    let song = s.generate(1.0, s.settings())[0].clone();
    let given: Vec<Option<&[f32]>> = song.stems.iter().map(|stem| Some(&stem[..31_900])).collect();
    let more = Continue { given: given.clone(), seconds: 3.0, settings: s.settings() };
    let longer = &more.render(&mut s.model, &mut s.cpu, &mut no_stop).unwrap()[0];
    assert_eq!(longer.stems.iter().map(Vec::len).collect::<Vec<_>>(), [31_900 + 96_000; 3]);
    // The given audio is kept, up to the crossfade in the last whole frame (frame 48).
    for (new, old) in longer.stems.iter().zip(&song.stems) {
        assert_eq!(new[..48 * 640], old[..48 * 640]);
    }
    let known = s.model.encode(&mut s.cpu, 0, &song.stems[0][..49 * 640]).unwrap();
    assert_eq!(longer.codes[0][..49], known[0]);
    // If more is given than a run can hold (120 frames), its end is the context.
    let long: Vec<Vec<f32>> = longer.stems.iter().map(|stem| stem[..127_000].to_vec()).collect();
    let given = long.iter().map(|stem| Some(&stem[..])).collect();
    let more = Continue { given, seconds: 0.5, settings: s.settings() };
    assert_eq!(more.render(&mut s.model, &mut s.cpu, &mut no_stop).unwrap()[0].stems[1].len(), 127_000 + 16_000);
    let missing = Continue { given: vec![Some(&long[0]), None, Some(&long[2])], ..more.clone() };
    assert!(missing.render(&mut s.model, &mut s.cpu, &mut no_stop).unwrap_err().to_string().contains("drums"));
}

#[test]
fn cancelling_stops_a_task_and_invalid_settings_are_errors() {
    let mut s = Setup::short();
    let mut calls = 0;
    let cancelled = Generate { seconds: 2.0, settings: s.settings() }.render(&mut s.model, &mut s.cpu, &mut |_| {
        calls += 1;
        if calls == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert_eq!(calls, 3);
    let config = s.config();
    let base = s.settings();
    let mut generate = |seconds: f64, settings: Settings| {
        Generate { seconds, settings }.render(&mut s.model, &mut s.cpu, &mut no_stop).unwrap_err().to_string()
    };
    for seconds in [0.0, -1.0, 1e9, f64::NAN] {
        assert!(generate(seconds, base.clone()).contains(&format!("{seconds} s")));
    }
    assert!(generate(1.0, Settings { variations: 0, ..base.clone() }).contains("variations"));
    assert!(generate(1.0, Settings { variations: 17, ..base.clone() }).contains("variations"));
    assert!(generate(1200.0, Settings { variations: 4, ..base.clone() }).contains("60"));
    assert!(generate(1.0, Settings { temperature: f32::NAN, ..base.clone() }).contains("temperature"));
    assert!(generate(1.0, Settings { top_p: 1.5, ..base.clone() }).contains("top-p"));
    let mut edit = |edit: Edit| match edit.render(&mut s.model, &mut s.cpu, &mut no_stop) {
        Err(Error::Input(what)) => what,
        other => panic!("{other:?}"),
    };
    edit(Edit::new(&config, vec![None; 3]));
    edit(Edit::new(&config, vec![Some(&[]), None, None]));
    assert!(edit(Edit::new(&config, vec![Some(&[f32::NAN]), None, None])).contains("bass"));
    edit(Edit::new(&config, vec![None]));
    let bass = bass(640);
    edit(Edit::new(&config, vec![Some(&bass), None, None]).redo(&config, "bass").unwrap());
    // One sample is enough for an edit.
    let one = Edit::new(&config, vec![Some(&[0.5]), None, None]).render(&mut s.model, &mut s.cpu, &mut no_stop).unwrap();
    assert_eq!(one[0].stems.iter().map(Vec::len).collect::<Vec<_>>(), [1; 3]);
}

#[test]
fn every_golden_model_generates_continues_and_edits() {
    // Six streams with SEANet codecs; a MusicGen with one stem; a small house model with two codebooks for bass.
    for name in ["six", "mono", "house"] {
        let dir = golden::model(name);
        let mut cpu = CpuBackend::new(2);
        let model = Model::load(&mut cpu, &dir, Format::F32).unwrap();
        let mut s = Setup { cpu, model };
        let config = s.config();
        let settings = Settings { text: "funk groove with slap bass".into(), ..s.settings() };
        let song = s.generate(0.33, settings.clone())[0].clone();
        assert_eq!(song.stems.iter().map(Vec::len).collect::<Vec<_>>(), vec![10_560; config.stems.len()], "{name}");
        let given: Vec<Option<&[f32]>> = song.stems.iter().map(|stem| Some(&stem[..])).collect();
        let more = Continue { given: given.clone(), seconds: 0.2, settings: settings.clone() };
        assert_eq!(more.render(&mut s.model, &mut s.cpu, &mut no_stop).unwrap()[0].stems[0].len(), 10_560 + 6_400, "{name}");
        if config.stems.len() == 3 {
            let given = vec![None, given[1], None];
            let edit = &s.edit(&Edit { settings, ..Edit::new(&config, given) })[0];
            assert_eq!((edit.kept.clone(), &edit.stems[1]), (vec![false, true, false], &song.stems[1]), "{name}");
        }
    }
}

#[test]
fn models_without_text_and_controls_ignore_a_chart_and_reject_a_text() {
    let mut s = Setup::new(Fixture { text: false, controls: false, ..Fixture::short() });
    let chart = Some(Chart::new(100.0, 0.0, Meter::ThreeFour).unwrap());
    let settings = s.settings();
    let song = s.generate(0.3, settings.clone());
    assert_eq!(s.generate(0.3, Settings { chart, ..settings.clone() }), song);
    let text = Generate { seconds: 0.3, settings: Settings { text: "funk".into(), ..settings } };
    assert!(matches!(text.render(&mut s.model, &mut s.cpu, &mut no_stop), Err(Error::Input(_))));
}
