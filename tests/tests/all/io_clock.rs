//! The session's clock: while tempo, meter and source of the beat change, the click stays on the grid, and bars and beats continue
//! without a gap. A command for a numbered bar takes effect in that bar.

use std::time::Duration;

use sideman_engine::live::{Action, Clock, Command, Request, When, Which};
use sideman_engine::model::FRAME;
use sideman_engine::task::Meter;
use sideman_io::run_mode::RunMode;
use sideman_io::slot_layout::SlotLayout;
use sideman_tests::stage;

/// Samples at which clicks begin, and whether each is the first of a bar, which is higher (1760 Hz instead of 1175).
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

/// The expected grid: tempos, each from a sample on.
struct Grid(Vec<(i64, f64)>);

impl Grid {
    /// Beats from the first entry to a sample.
    fn beats(&self, at: i64) -> f64 {
        let next = self.0.iter().skip(1).map(|n| n.0).chain([i64::MAX]);
        self.0.iter().zip(next).map(|((from, tempo), to)| (at.clamp(*from, to) - from) as f64 * tempo / 60.0 / 32_000.0).sum()
    }
}

#[test]
fn the_beat_continues_through_taps_and_changes_of_tempo_meter_and_source() {
    let (mut runner, control) = stage::runner(stage::config(12), RunMode::Files);
    let lead = runner.time().1;
    let mut click: Vec<f32> = runner.slots().chunks_exact(runner.layout().channels()).map(|slot| slot[3]).collect();
    assert_eq!((click.len() as i64, runner.layout()), (lead, SlotLayout::new(3)));
    let now = |command| Request { command, when: None, from: 1 };
    let bass = stage::bass(32_000 * 20, 32_000);
    let mut tap = 0.0;
    for hop in 0..240 {
        match hop {
            // Taps at 150 BPM: the time at which they are sent counts, not song time.
            30 => {
                (0..5).for_each(|n| {
                    if n > 0 {
                        std::thread::sleep(Duration::from_millis(400));
                    }
                    control.send(now(Command::Tap)).unwrap();
                });
            }
            60 => control.send(now(Command::Tempo(83.0))).unwrap(),
            // In the middle of a beat.
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
    // On a busy machine a sleep takes longer.
    assert!((90.0..151.0).contains(&tap) && tap != 120.0, "five taps, 0.4 s apart, give {tap} BPM");
    let strikes = strikes(&click);
    // The tempos in order, each from the click at which it begins. One begins between two clicks.
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
            // The beat in which the tempo changes has a length in between.
            _ => odd += 1,
        }
    }
    assert!(left.len() == 1 && odd <= 1, "{gaps:?}");
    // No beat is lost: there is a click at every beat of the grid, and nowhere else.
    let mut grid = Grid(vec![(strikes[0].0, 120.0)]);
    for (pair, gap) in strikes.windows(2).zip(&gaps) {
        let last = grid.0.last().unwrap().1;
        if let Some(tempo) = [120.0, tap, 83.0, 171.5, 60.0].into_iter().find(|t| near(*gap, *t))
            && !near(last, tempo)
        {
            grid.0.push((pair[0].0, tempo));
        } else if !near(*gap, last) {
            // 83 BPM up to a sample, 171.5 BPM after it: one beat in total.
            let (len, a, b) = ((pair[1].0 - pair[0].0) as f64, 83.0 / 1.92e6, 171.5 / 1.92e6);
            grid.0.push((pair[0].0 + ((1.0 - len * b) / (a - b)).round() as i64, 171.5));
        }
    }
    let off = strikes.iter().enumerate().map(|(n, s)| (grid.beats(s.0) - n as f64).abs()).fold(0.0, f64::max);
    // The first beat of a bar is higher: every fourth one, in 3/4 every third one.
    let downs: Vec<usize> = strikes.iter().enumerate().filter(|s| s.1.1).map(|s| s.0).collect();
    let bars: Vec<usize> = downs.windows(2).map(|w| w[1] - w[0]).collect();
    println!("{} beats, at most {:.4} of a beat off the grid; bars of {bars:?}", strikes.len(), off);
    // A beat of a tapped tempo is known to a sample only.
    assert!(off < 0.01, "{off} of a beat off the grid");
    let waltz = bars.iter().position(|b| *b == 3).expect("a bar of three");
    let back = bars.iter().rposition(|b| *b == 3).unwrap();
    assert!(bars.iter().enumerate().all(|(n, b)| *b == if (waltz..=back).contains(&n) { 3 } else { 4 }), "{bars:?}");
}

#[test]
fn a_command_for_a_numbered_bar_takes_effect_in_that_bar() {
    let play = |hop: usize| {
        let (mut runner, control) = stage::runner(stage::config(12), RunMode::Files);
        let at = |bar, command| Request { command, when: Some(When::AtBar(bar)), from: 1 };
        control.send(at(3, Command::Stem(Which::One(1), Action::Mute(true)))).unwrap();
        control.send(at(4, Command::Stem(Which::One(1), Action::Mute(false)))).unwrap();
        control.send(at(2, Command::Tempo(240.0))).unwrap();
        control.send(at(3, Command::Text { part: 0, text: "brushes".into(), weight: 1.0 })).unwrap();
        // The second key transposes the chords (Em C) up by three semitones.
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
    // Bar 2 begins at 2 s; bars 2 and 3 last 1 s.
    let silent = |from: usize, to: usize| drums[from..to].iter().all(|x| *x == 0.0);
    // Without the frame in which the level fades.
    assert!(silent(97_000, 127_000) && !silent(64_000, 96_000) && !silent(128_000, 160_000));
    assert!(texts.iter().all(|(bar, text)| if *bar < 3 { text.is_empty() } else { *bar == 3 || text == "brushes" }), "{texts:?}");
    // At the start of each bar: a snapshot shows what is decided, which is ahead of what is heard.
    let chord = |bar: i64| chords.iter().find(|c| c.0 == bar).map(|c| (c.2.as_str(), c.3.as_str()));
    assert_eq!((chord(2), chord(3)), (Some(("C", "Em")), Some(("Em", "Em"))));
    assert_eq!((chord(4), chord(5)), (Some(("Eb", "G minor")), Some(("Gm", "G minor"))));
    assert!(play(1).0 == drums, "the music depends on the length of a hop");
}
