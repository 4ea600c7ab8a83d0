//! The click against the grid while everything about the beat changes: taps, jumps of the tempo, another meter, another source. Bars and
//! beats go on without a gap. And what a rig asks for by a bar's number comes true in that bar.

use std::time::Duration;

use sideman_engine::live::{Action, Clock, Command, Request, When, Which};
use sideman_engine::model::FRAME;
use sideman_engine::task::Meter;
use sideman_io::run_mode::RunMode;
use sideman_io::slot_layout::SlotLayout;
use sideman_tests::stage;

/// Samples at which clicks begin, and whether each is a bar's first, which is higher (1760 Hz instead of 1175).
fn strikes(click: &[f32]) -> Vec<(i64, bool)> {
    let (mut all, mut n) = (Vec::new(), 0);
    while n + 320 < click.len() {
        if click[n] != 0.0 {
            let turns = click[n..n + 320].windows(2).filter(|w| (w[0] < 0.0) != (w[1] < 0.0)).count();
            all.push((n as i64, turns > 29));
            n += 3000;
        }
        n += 1;
    }
    all
}

/// A grid of our own: beats a minute from a sample on, beats that go on from where they were.
struct Grid(Vec<(i64, f64)>);

impl Grid {
    /// Beats since the first entry at a sample.
    fn beats(&self, at: i64) -> f64 {
        let next = self.0.iter().skip(1).map(|n| n.0).chain([i64::MAX]);
        self.0.iter().zip(next).map(|((from, tempo), to)| (at.clamp(*from, to) - from) as f64 * tempo / 60.0 / 32_000.0).sum()
    }
}

#[test]
fn the_beat_goes_on_through_taps_jumps_meters_and_sources() {
    let (mut runner, control) = stage::runner(stage::config(12), RunMode::Files);
    let lead = runner.time().1;
    let mut click: Vec<f32> = runner.slots().chunks_exact(runner.layout().channels()).map(|slot| slot[3]).collect();
    assert_eq!((click.len() as i64, runner.layout()), (lead, SlotLayout::new(3)));
    let now = |command| Request { command, when: None, from: 1 };
    let bass = stage::bass(32_000 * 20, 32_000);
    let mut tap = 0.0;
    for hop in 0..240 {
        match hop {
            // 4.6 s of taps at 150 a minute stand for themselves: it is the hand's time that counts.
            30 => {
                (0..5).for_each(|n| {
                    if n > 0 {
                        std::thread::sleep(Duration::from_millis(400));
                    }
                    control.send(now(Command::Tap)).unwrap();
                });
            }
            60 => control.send(now(Command::Tempo(83.0))).unwrap(),
            // In mid-beat.
            83 => control.send(Request { when: Some(When::Now), ..now(Command::Tempo(171.5)) }).unwrap(),
            100 => control.send(now(Command::Meter(Meter::ThreeFour))).unwrap(),
            120 => control.send(now(Command::Clock(Clock::Midi))).unwrap(),
            140 => control.send(now(Command::Clock(Clock::Internal))).unwrap(),
            160 => control.send(now(Command::Meter(Meter::FourFour))).unwrap(),
            180 => control.send(now(Command::Tempo(60.0))).unwrap(),
            _ => {}
        }
        runner.hop(&bass[hop * 4 * FRAME..][..4 * FRAME]);
        click.extend(runner.slots().chunks_exact(runner.layout().channels()).map(|slot| slot[3]));
        if hop == 55 {
            tap = runner.snapshot().tempo;
        }
        runner.publish();
    }
    // A busy machine sleeps longer than it was told.
    assert!((90.0..151.0).contains(&tap) && tap != 120.0, "five taps, 0.4 s apart, are {tap} a minute");
    let strikes = strikes(&click);
    // Tempos in the order in which they came, each from the strike on where it begins (the one now: from within).
    let gaps: Vec<f64> = strikes.windows(2).map(|w| 60.0 * 32_000.0 / (w[1].0 - w[0].0) as f64).collect();
    let near = |gap: f64, tempo: f64| (gap - tempo).abs() < 0.003 * tempo;
    let mut left: &[f64] = &[120.0, tap, 83.0, 171.5, 60.0];
    let mut odd = 0;
    for gap in &gaps {
        if near(*gap, left[0]) {
            continue;
        }
        match left.get(1) {
            Some(next) if near(*gap, *next) => left = &left[1..],
            // The beat in which a tempo changed at once lies between both.
            _ => odd += 1,
        }
    }
    assert!(left.len() == 1 && odd <= 1, "{gaps:?}");
    // Beats are counted on without a gap: the grid of these tempos has a strike at every whole beat, and only there.
    let mut grid = Grid(vec![(strikes[0].0, 120.0)]);
    for (pair, gap) in strikes.windows(2).zip(&gaps) {
        let last = grid.0.last().unwrap().1;
        if let Some(tempo) = [120.0, tap, 83.0, 171.5, 60.0].into_iter().find(|t| near(*gap, *t))
            && !near(last, tempo)
        {
            grid.0.push((pair[0].0, tempo));
        } else if !near(*gap, last) {
            // 83 until the sample x, 171.5 after it: one beat in all.
            let (len, a, b) = ((pair[1].0 - pair[0].0) as f64, 83.0 / 1.92e6, 171.5 / 1.92e6);
            grid.0.push((pair[0].0 + ((1.0 - len * b) / (a - b)).round() as i64, 171.5));
        }
    }
    let off = strikes.iter().enumerate().map(|(n, s)| (grid.beats(s.0) - n as f64).abs()).fold(0.0, f64::max);
    // And the downbeat is higher: every fourth, in the waltz every third, without one too early or too late.
    let downs: Vec<usize> = strikes.iter().enumerate().filter(|s| s.1.1).map(|s| s.0).collect();
    let bars: Vec<usize> = downs.windows(2).map(|w| w[1] - w[0]).collect();
    println!("{} beats, the worst {:.4} of a beat beside the grid; bars of {bars:?}", strikes.len(), off);
    // A whole beat of a tapped tempo is only known to a sample.
    assert!(off < 0.01, "{off} of a beat beside the grid");
    let waltz = bars.iter().position(|b| *b == 3).expect("a bar of three");
    let back = bars.iter().rposition(|b| *b == 3).unwrap();
    assert!(bars.iter().enumerate().all(|(n, b)| *b == if (waltz..=back).contains(&n) { 3 } else { 4 }), "{bars:?}");
}

#[test]
fn what_is_asked_for_by_its_bar_comes_true_there() {
    let play = |hop: usize| {
        let (mut runner, control) = stage::runner(stage::config(12), RunMode::Files);
        let at = |bar, command| Request { command, when: Some(When::AtBar(bar)), from: 1 };
        control.send(at(3, Command::Stem(Which::One(1), Action::Mute(true)))).unwrap();
        control.send(at(4, Command::Stem(Which::One(1), Action::Mute(false)))).unwrap();
        control.send(at(2, Command::Tempo(240.0))).unwrap();
        control.send(at(3, Command::Text { part: 0, text: "brushes".into(), weight: 1.0 })).unwrap();
        // Keys: the first is known, the second moves the chords (Em C) up by three.
        control.send(at(1, Command::Key("Em".into()))).unwrap();
        control.send(at(4, Command::Key("G minor".into()))).unwrap();
        let (mut drums, mut texts, mut chords) = (Vec::new(), Vec::new(), Vec::new());
        let mut take = |runner: &sideman_io::runner::Runner<_>| drums.extend(runner.slots().chunks_exact(6).map(|s| s[1]));
        take(&runner);
        let bass = stage::bass(32_000 * 6, 32_000);
        for heard in bass.chunks_exact(hop * FRAME) {
            runner.hop(heard);
            take(&runner);
            let s = runner.snapshot().clone();
            runner.publish();
            texts.push((s.bar, control.snapshot().text));
            chords.push((s.bar, s.beat, s.chord, s.key));
        }
        (drums, texts, chords)
    };
    let (drums, texts, chords) = play(4);
    // Bar 2 begins at 2 s and lasts one, as bar 3 does.
    let silent = |from: usize, to: usize| drums[from..to].iter().all(|x| *x == 0.0);
    // A frame either way is the fader's way.
    assert!(silent(97_000, 127_000) && !silent(64_000, 96_000) && !silent(128_000, 160_000));
    assert!(texts.iter().all(|(bar, text)| if *bar < 3 { text.is_empty() } else { *bar == 3 || text == "brushes" }), "{texts:?}");
    // As each bar begins: what is decided ahead of it shows before it ends.
    let chord = |bar: i64| chords.iter().find(|c| c.0 == bar).map(|c| (c.2.as_str(), c.3.as_str()));
    assert_eq!((chord(2), chord(3)), (Some(("C", "Em")), Some(("Em", "Em"))));
    assert_eq!((chord(4), chord(5)), (Some(("Eb", "G minor")), Some(("Gm", "G minor"))));
    assert!(play(1).0 == drums, "the length of a hop moved something");
}
