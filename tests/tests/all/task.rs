//! The paper's tasks on the fixture model: what is kept, what is made, how long it is, and what it depends on.

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

struct Studio {
    cpu: CpuBackend,
    model: Model<CpuBackend>,
}

impl Studio {
    fn new(fixture: Fixture) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fixture.write(dir.path()).unwrap();
        let mut cpu = CpuBackend::new(2);
        let model = Model::load(&mut cpu, &ModelDir::open(dir.path()).unwrap(), Format::F32).unwrap();
        Studio { cpu, model }
    }

    fn short() -> Self {
        Studio::new(Fixture::short())
    }

    fn config(&self) -> Config {
        self.model.config().clone()
    }

    fn settings(&self) -> Settings {
        Settings::new(self.model.config())
    }

    fn generate(&mut self, seconds: f64, settings: Settings) -> Vec<Song> {
        Generate { seconds, settings }.render(&mut self.model, &mut self.cpu, &mut go).unwrap()
    }

    fn edit(&mut self, edit: &Edit) -> Vec<Song> {
        edit.render(&mut self.model, &mut self.cpu, &mut go).unwrap()
    }
}

fn go(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A plucked line.
fn bass(len: usize) -> Vec<f32> {
    let pluck = |i: usize| {
        let t = i as f32 / 32000.0;
        0.5 * (-4.0 * (t % 0.5)).exp() * (t * 2.0 * std::f32::consts::PI * if t % 1.0 < 0.5 { 55.0 } else { 73.4 }).sin()
    };
    (0..len).map(pluck).collect()
}

#[test]
fn text_to_three_stems() {
    let mut s = Studio::short();
    let settings = Settings { text: "funk drums".into(), seed: 3, ..s.settings() };
    let song = &s.generate(0.51, settings.clone())[0];
    assert_eq!(song.stems.iter().map(Vec::len).collect::<Vec<_>>(), [16320; 3]);
    assert_eq!(song.kept, [false; 3]);
    assert!(song.codes.iter().all(|row| row.len() == 26));
    assert!(song.stems.iter().all(|stem| stem.iter().any(|v| v.abs() > 1e-3)));
    // The same seed: the same bits, whatever the blocks. Another seed, text, guidance, clock: another song.
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
fn a_variation_is_the_same_whatever_their_number() {
    let mut s = Studio::short();
    let settings = Settings { text: "rock bass".into(), variations: 3, ..s.settings() };
    let three = s.generate(0.5, settings.clone());
    let two = s.generate(0.5, Settings { variations: 2, ..settings });
    assert_eq!(three[..2], two);
    assert_ne!(three[0].codes, three[1].codes);
    assert_ne!(three[1].codes, three[2].codes);
}

#[test]
fn a_song_longer_than_a_run() {
    // Runs of 120 frames, 72 apart: 6 s are 300 frames.
    let mut s = Studio::short();
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
    // Dice are keyed by the song's frame: no window repeats another's.
    for row in &song.codes {
        assert_ne!(row[0..60], row[72..132]);
        assert_ne!(row[120..180], row[192..252]);
    }
    // The first window does not depend on what follows.
    let short = &s.generate(2.4, generate.settings.clone())[0];
    assert_eq!(short.codes.iter().map(|r| &r[..]).collect::<Vec<_>>(), song.codes.iter().map(|r| &r[..120]).collect::<Vec<_>>());
}

#[test]
fn dice_belong_to_the_frames_of_the_song() {
    // So hot that the dice alone decide, nearly: then a song in windows is the song in one, but for few tokens.
    let hot = |s: &Studio| Settings { temperature: 100.0, top_k: 0, ..s.settings() };
    let mut windows = Studio::short();
    let settings = hot(&windows);
    let windows = &windows.generate(6.0, settings)[0];
    let mut whole = Studio::new(Fixture::default());
    let settings = hot(&whole);
    let whole = &whole.generate(6.0, settings)[0];
    let same = |a: &[i32], b: &[i32]| a.iter().zip(b).filter(|(x, y)| x == y).count() as f64 / a.len() as f64;
    for k in 0..6 {
        assert!(same(&windows.codes[k], &whole.codes[k]) > 0.8, "stream {k}");
        assert!(same(&whole.codes[k][..228], &whole.codes[k][72..]) < 0.1, "stream {k} repeats itself");
    }
}

#[test]
fn stems_from_a_bass() {
    let mut s = Studio::short();
    let config = s.config();
    let bass = bass(40_001);
    let edit = Edit { settings: s.settings(), ..Edit::new(&config, vec![Some(&bass), None, None]) };
    let song = &s.edit(&edit)[0];
    assert_eq!(song.stems[0], bass, "the kept stem is untouched");
    assert_eq!((song.kept.clone(), song.stems[1].len(), song.stems[2].len()), (vec![true, false, false], 40_001, 40_001));
    // Its stream is its own encoding (silence follows it up to the window's end).
    let mut padded = bass.clone();
    padded.resize(100 * 640, 0.0);
    assert_eq!(song.codes[0], s.model.encode(&mut s.cpu, 0, &padded).unwrap()[0][..63]);
    // Another bass: other drums.
    let quiet: Vec<f32> = bass.iter().map(|v| v * 0.01).collect();
    let other = &s.edit(&Edit { given: vec![Some(&quiet), None, None], ..edit.clone() })[0];
    assert_ne!(other.codes[1], song.codes[1]);
    // Through the codec, where that is asked for.
    let coded = &s.edit(&Edit { settings: Settings { recode_given: true, ..s.settings() }, ..edit.clone() })[0];
    assert_eq!((coded.codes == song.codes, coded.kept[0], coded.stems[0] == bass), (true, false, false));
    // Step by step: drums to the bass, then other to both.
    let second = Edit { given: vec![Some(&bass), Some(&song.stems[1]), None], ..edit.clone() };
    let second = &s.edit(&second)[0];
    assert_eq!((&second.stems[0], &second.stems[1]), (&bass, &song.stems[1]));
    assert_eq!(second.stems[2].len(), 40_001);
}

#[test]
fn an_edit_is_the_grid_of_the_paper() {
    // The same edit laid out by hand: prefix of every 5th frame ‖ transition ‖ target, controls beside it (section 8.1).
    let mut s = Studio::short();
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
fn redo_texture_and_free() {
    let mut s = Studio::short();
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

    // Levels 3 and 4 of other (streams 4 and 5) are new, the rest is as it was.
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

fn redo_drums(s: &mut Studio, song: &Song) -> Vec<i32> {
    s.model.encode(&mut s.cpu, 1, &pad(&song.stems[1])).unwrap()[0][..50].to_vec()
}

#[test]
fn an_edit_longer_than_a_window() {
    // Windows of 100 frames, 80 apart, the last one at the end: 231 frames begin at 0, 80, 131.
    let mut s = Studio::short();
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
    // The first window is that of the bass's first 100 frames, as if nothing followed (but for the encoder's look-ahead).
    let first = Edit { given: vec![Some(&bass[..100 * 640]), None, None], ..edit.clone() };
    let first = &s.edit(&first)[0];
    assert_eq!(first.codes[1][..90], song.codes[1][..90]);
}

#[test]
fn what_live_play_would_make() {
    let mut s = Studio::short();
    let bass = bass(190 * 640);
    let lagged = Lagged { given: vec![Some(&bass), None, None], lag: 8, settings: s.settings() };
    let song = &lagged.render(&mut s.model, &mut s.cpu, &mut go).unwrap()[0];
    assert_eq!((&song.stems[0], song.stems[1].len()), (&bass, 190 * 640));
    // Nothing of the future is known: a change of the bass at frame 60 is not heard before frame 68 (67 with the look-ahead).
    let mut changed = bass.clone();
    changed[60 * 640..].iter_mut().for_each(|v| *v *= -0.3);
    let other = Lagged { given: vec![Some(&changed), None, None], ..lagged.clone() };
    let other = &other.render(&mut s.model, &mut s.cpu, &mut go).unwrap()[0];
    let differs = (0..190).find(|&t| other.codes[0][t] != song.codes[0][t]).unwrap();
    assert!((58..=61).contains(&differs), "{differs}");
    for k in 1..6 {
        let first = (0..190).find(|&t| other.codes[k][t] != song.codes[k][t]).unwrap_or(190);
        let delay = [0, 0, 0, 1, 2, 3][k];
        assert!(first + delay >= differs + 8, "stream {k} at frame {first}: bass at {differs}");
        assert!(first < 190, "stream {k} never hears it");
    }
    // A shorter lag hears more.
    let near = Lagged { lag: 4, ..lagged.clone() }.render(&mut s.model, &mut s.cpu, &mut go).unwrap();
    assert_ne!(near[0].codes[1], song.codes[1]);
    let error = |s: &mut Studio, lagged: &Lagged| lagged.render(&mut s.model, &mut s.cpu, &mut go).unwrap_err().to_string();
    assert!(error(&mut s, &Lagged { lag: 20, ..lagged.clone() }).contains("lag"));
    assert!(error(&mut s, &Lagged { given: vec![Some(&bass); 3], ..lagged.clone() }).contains("every stem"));
    let mut paper = Studio::new(Fixture { lagged: false, ..Fixture::short() });
    assert!(error(&mut paper, &lagged).contains("trained"));
}

#[test]
fn going_on() {
    let mut s = Studio::short();
    let song = s.generate(1.0, s.settings())[0].clone();
    let given: Vec<Option<&[f32]>> = song.stems.iter().map(|stem| Some(&stem[..31_900])).collect();
    let more = Continue { given: given.clone(), seconds: 3.0, settings: s.settings() };
    let longer = &more.render(&mut s.model, &mut s.cpu, &mut go).unwrap()[0];
    assert_eq!(longer.stems.iter().map(Vec::len).collect::<Vec<_>>(), [31_900 + 96_000; 3]);
    // What was there is there, up to the fade over the last whole frame (frame 48).
    for (new, old) in longer.stems.iter().zip(&song.stems) {
        assert_eq!(new[..48 * 640], old[..48 * 640]);
    }
    let known = s.model.encode(&mut s.cpu, 0, &song.stems[0][..49 * 640]).unwrap();
    assert_eq!(longer.codes[0][..49], known[0]);
    // A prompt longer than a run (120 frames): its end is the context.
    let long: Vec<Vec<f32>> = longer.stems.iter().map(|stem| stem[..127_000].to_vec()).collect();
    let given = long.iter().map(|stem| Some(&stem[..])).collect();
    let more = Continue { given, seconds: 0.5, settings: s.settings() };
    assert_eq!(more.render(&mut s.model, &mut s.cpu, &mut go).unwrap()[0].stems[1].len(), 127_000 + 16_000);
    let missing = Continue { given: vec![Some(&long[0]), None, Some(&long[2])], ..more.clone() };
    assert!(missing.render(&mut s.model, &mut s.cpu, &mut go).unwrap_err().to_string().contains("drums"));
}

#[test]
fn cancelled_and_impossible() {
    let mut s = Studio::short();
    let mut calls = 0;
    let stop = Generate { seconds: 2.0, settings: s.settings() }.render(&mut s.model, &mut s.cpu, &mut |_| {
        calls += 1;
        if calls == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stop, Err(Error::Cancelled)));
    assert_eq!(calls, 3);
    let config = s.config();
    let base = s.settings();
    let mut generate = |seconds: f64, settings: Settings| {
        Generate { seconds, settings }.render(&mut s.model, &mut s.cpu, &mut go).unwrap_err().to_string()
    };
    for seconds in [0.0, -1.0, 1e9, f64::NAN] {
        assert!(generate(seconds, base.clone()).contains(&format!("{seconds} s")));
    }
    assert!(generate(1.0, Settings { variations: 0, ..base.clone() }).contains("variations"));
    assert!(generate(1.0, Settings { variations: 17, ..base.clone() }).contains("variations"));
    assert!(generate(1200.0, Settings { variations: 4, ..base.clone() }).contains("60 minutes"));
    assert!(generate(1.0, Settings { temperature: f32::NAN, ..base.clone() }).contains("temperature"));
    assert!(generate(1.0, Settings { top_p: 1.5, ..base.clone() }).contains("top-p"));
    let mut edit = |edit: Edit| edit.render(&mut s.model, &mut s.cpu, &mut go).unwrap_err().to_string();
    assert!(edit(Edit::new(&config, vec![None; 3])).contains("no samples"));
    assert!(edit(Edit::new(&config, vec![Some(&[]), None, None])).contains("no samples"));
    assert!(edit(Edit::new(&config, vec![Some(&[f32::NAN]), None, None])).contains("sample 0 of bass"));
    assert!(edit(Edit::new(&config, vec![None])).contains("1 stems"));
    let bass = bass(640);
    assert!(edit(Edit::new(&config, vec![Some(&bass), None, None]).redo(&config, "bass").unwrap()).contains("kept"));
    // One sample is a song of one frame.
    let one = Edit::new(&config, vec![Some(&[0.5]), None, None]).render(&mut s.model, &mut s.cpu, &mut go).unwrap();
    assert_eq!(one[0].stems.iter().map(Vec::len).collect::<Vec<_>>(), [1; 3]);
}

#[test]
fn models_of_other_shapes() {
    // The golden models: six streams on SEANet codecs, a mono MusicGen of one stem, the house model in small with two books of bass.
    for name in ["six", "mono", "house"] {
        let dir = golden::model(name);
        let mut cpu = CpuBackend::new(2);
        let model = Model::load(&mut cpu, &dir, Format::F32).unwrap();
        let mut s = Studio { cpu, model };
        let config = s.config();
        let settings = Settings { text: "funk groove with slap bass".into(), ..s.settings() };
        let song = s.generate(0.33, settings.clone())[0].clone();
        assert_eq!(song.stems.iter().map(Vec::len).collect::<Vec<_>>(), vec![10_560; config.stems.len()], "{name}");
        let given: Vec<Option<&[f32]>> = song.stems.iter().map(|stem| Some(&stem[..])).collect();
        let more = Continue { given: given.clone(), seconds: 0.2, settings: settings.clone() };
        assert_eq!(more.render(&mut s.model, &mut s.cpu, &mut go).unwrap()[0].stems[0].len(), 10_560 + 6_400, "{name}");
        if config.stems.len() == 3 {
            let given = vec![None, given[1], None];
            let edit = &s.edit(&Edit { settings, ..Edit::new(&config, given) })[0];
            assert_eq!((edit.kept.clone(), &edit.stems[1]), (vec![false, true, false], &song.stems[1]), "{name}");
        }
    }
}

#[test]
fn models_without_text_and_controls() {
    let mut s = Studio::new(Fixture { text: false, controls: false, ..Fixture::short() });
    let chart = Some(Chart::new(100.0, 0.0, Meter::ThreeFour).unwrap());
    let settings = s.settings();
    let song = s.generate(0.3, settings.clone());
    // Without controls a chart changes nothing; a text is an error.
    assert_eq!(s.generate(0.3, Settings { chart, ..settings.clone() }), song);
    let text = Generate { seconds: 0.3, settings: Settings { text: "funk".into(), ..settings } };
    assert!(text.render(&mut s.model, &mut s.cpu, &mut go).unwrap_err().to_string().contains("takes no text"));
}
