//! Tests of the timeline.

use proptest::prelude::*;

use super::*;
use crate::task::Chart;

/// First sample of bar `n` after bar 1 (n from 0), by one division.
fn bar(bar1: i64, tempo_micro: i128, quarters: i128, n: i64) -> i64 {
    let exact = i128::from(n) * quarters * 60 * 32000 * 1_000_000;
    bar1 + (exact + tempo_micro - 1).div_euclid(tempo_micro) as i64
}

#[test]
fn bars_do_not_drift_in_two_hours() {
    let line = Timeline::new(12_345, 97.0, Meter::FourFour);
    let (mut t, mut n) = (12_345, 0);
    while t < 2 * 3600 * 32000 {
        assert_eq!(t, bar(12_345, 97_000_000, 4, n));
        let position = line.position(t);
        assert_eq!((position.bar, position.beat), (n + 1, 1));
        assert_eq!(line.position(t - 1).bar, n);
        (t, n) = (line.next(t + 1, Boundary::Bar), n + 1);
    }
    assert_eq!(n, 2910); // 7200 s · 97 / 60 / 4 bars, and the one that started before sample 12 345
}

#[test]
fn each_meter_has_its_beats() {
    for (meter, name) in [(Meter::FourFour, 4), (Meter::ThreeFour, 3), (Meter::SixEight, 2), (Meter::TwelveEight, 4)] {
        let line = Timeline::new(0, 120.0, meter);
        let bar = line.next(1, Boundary::Bar);
        assert_eq!(bar, 16000 * meter.quarters() as i64);
        let (mut t, mut count) = (0, 0);
        while t < bar {
            assert_eq!(line.position(t).beat, count + 1);
            (t, count) = (line.next(t + 1, Boundary::Beat), count + 1);
        }
        assert_eq!((t, i64::from(count)), (bar, name));
    }
}

#[test]
fn a_section_without_a_name_is_eight_bars_from_bar_1() {
    let line = Timeline::new(64_000, 120.0, Meter::FourFour);
    assert_eq!(line.next(0, Boundary::Section), 64_000);
    assert_eq!(line.next(64_001, Boundary::Section), 64_000 + 8 * 64_000);
}

#[test]
fn numbered_bars_are_found_across_changes() {
    let mut line = Timeline::new(1000, 120.0, Meter::FourFour);
    line.set_tempo(65_000, 240.0);
    line.set_meter(97_000, Meter::ThreeFour);
    let at = |t, bar| line.next(t, Boundary::Numbered(bar));
    assert_eq!([at(0, 1), at(0, 2), at(0, 3), at(0, 4)], [1000, 65_000, 97_000, 97_000 + 24_000]);
    // The boundary of a bar that has started is the current sample; bars far ahead don't overflow.
    assert_eq!([at(70_000, 1), at(70_000, 2), at(97_001, 3)], [70_000, 70_000, 97_001]);
    assert!(at(0, i64::MAX) > 1 << 32 && at(500, i64::MIN) == 500);
    (4..200).for_each(|bar| assert_eq!(line.position(at(0, bar)).bar, bar));
}

#[test]
fn chords_follow_their_bars() {
    let mut line = Timeline::new(640, 120.0, Meter::FourFour);
    line.set_chords(Some("Em C,D".parse().unwrap()), 1);
    let at = |t| line.chord(t).map(|c| c.1.to_owned());
    assert_eq!((at(639), at(640).as_deref(), at(64_640).as_deref()), (None, Some("Em"), Some("C")));
    assert_eq!((at(96_640).as_deref(), at(128_640).as_deref()), (Some("D"), Some("Em")));
    line.restart_chords(2);
    assert_eq!((line.chord(640), line.chord(64_640).map(|c| c.1)), (None, Some("Em")));
}

#[test]
fn section_boundaries_are_those_of_the_chart() {
    let mut line = Timeline::new(0, 120.0, Meter::FourFour);
    line.set_chords(Some("[A] Em Em C [B] G D".parse().unwrap()), 1);
    let bar = |n: i64| (n - 1) * 64_000;
    let next = |line: &Timeline, n| line.position(line.next(bar(n), Boundary::Section)).bar;
    let name = |line: &Timeline, n| line.section(bar(n)).map(|s| (s.1.to_owned(), s.2));
    assert_eq!([-2, 1, 2, 4, 5, 6, 7].map(|n| next(&line, n)), [1, 1, 4, 4, 6, 6, 9]);
    assert_eq!(line.next(bar(4) + 1, Boundary::Section), bar(6));
    assert_eq!([name(&line, 0), name(&line, 1), name(&line, 5)], [None, Some(("A".into(), 3)), Some(("B".into(), 1))]);
    // Bar 3 plays the first bar of B; the bars before stay.
    line.jump(3, 3);
    assert_eq!([2, 3, 4, 5].map(|n| line.chord(bar(n)).unwrap().1.to_owned()), ["Em", "G", "D", "Em"]);
    assert_eq!([3, 4, 5, 6].map(|n| next(&line, n)), [3, 5, 5, 8]);
    // Many jumps: only old ones are forgotten.
    (4..500).for_each(|n| line.jump(n, n % 5));
    assert_eq!((line.chord(bar(499)).unwrap().1, line.chord(bar(499 - KEPT as i64))), ("D", None));
    assert!(line.chart_starts.len() <= KEPT && line.chart_starts.capacity() < 2 * KEPT);
}

#[test]
fn changes_of_tempo_keep_the_position() {
    let mut line = Timeline::new(0, 120.0, Meter::FourFour);
    let mut t = 0;
    for i in 0..500 {
        let before = line.position(t);
        line.set_tempo(t, 60.0 + (i % 90) as f64);
        let after = line.position(t);
        assert_eq!((after.bar, after.beat), (before.bar, before.beat));
        assert!((after.phase - before.phase).abs() < 2e-4);
        assert_eq!(after.beat as i64, i % 4 + 1);
        t = line.next(t + 1, Boundary::Beat);
    }
    assert_eq!(line.position(t).bar, 126);
    assert!(line.segments.len() <= KEPT);
}

#[test]
fn bar_lines_are_exact_after_ten_thousand_changes_of_tempo() {
    let mut line = Timeline::new(0, 120.0, Meter::FourFour);
    let mut t = 0;
    for n in 0..10_000i64 {
        // Beat n begins exactly here, whatever the tempo was.
        let position = line.position(t);
        assert_eq!((position.bar, i64::from(position.beat)), (n / 4 + 1, n % 4 + 1));
        assert!(line.position(t - 1).phase > 0.99);
        let length = 12_000.0 + (n * 37 % 9_001) as f64 + 0.37;
        line.set_tempo(t, 60.0 * 32_000.0 / length);
        assert_eq!(line.position(t).phase, 0.0);
        let next = line.next(t + 1, Boundary::Beat);
        assert_eq!(next, t + length.ceil() as i64, "beat {n}");
        t = next;
    }
    assert_eq!(line.next(t, Boundary::Bar), t);
}

#[test]
fn a_count_leads_to_its_bar() {
    let mut line = Timeline::new(0, 120.0, Meter::FourFour);
    line.count_to(101_000, 123_457, 1, 97.3);
    let (before, at) = (line.position(123_456), line.position(123_457));
    assert_eq!((before.bar, before.beat, at.bar, at.beat), (0, 4, 1, 1));
    assert_eq!(line.next(101_001, Boundary::Bar), 123_457);
    assert_eq!(line.position(101_000).bar, 0);
}

proptest! {
    #[test]
    fn control_values_equal_those_of_the_chart(tempo in 20.0f64..400.0, bar1 in -100_000i64..100_000, meter in 0usize..4, frame in -5000i64..400_000) {
        let meter = [Meter::FourFour, Meter::ThreeFour, Meter::SixEight, Meter::TwelveEight][meter];
        let chart = Chart::new(tempo, bar1 as f64 / 32000.0, meter).unwrap().with_chords("Em C,D,A F").unwrap();
        let mut line = Timeline::new(bar1, tempo, meter);
        line.set_chords(Some("Em C,D,A F".parse().unwrap()), 1);
        prop_assert_eq!(line.clock_controls(frame), chart.clock(frame));
        prop_assert_eq!(line.chord(middle(frame)).map(|c| c.0), chart.chord(frame));
    }

    #[test]
    fn boundaries_agree_with_positions(
        changes in prop::collection::vec((0i64..3_000_000, 20.0f64..400.0), 0..5), from in -100_000i64..3_000_000,
    ) {
        let mut line = Timeline::new(1000, 100.0, Meter::ThreeFour);
        let mut changes = changes;
        changes.sort_by_key(|c| c.0);
        for (t, tempo) in changes {
            line.set_tempo(t, tempo);
        }
        let beat = line.next(from, Boundary::Beat);
        let bar = line.next(from, Boundary::Bar);
        prop_assert!(from <= beat && beat <= bar);
        let (here, before) = (line.position(bar), line.position(bar - 1));
        prop_assert!(here.beat == 1 && before.bar == here.bar - 1 && before.beat == 3, "{here:?} {before:?}");
        prop_assert_ne!(line.position(beat).beat, line.position(beat - 1).beat);
        // No beat starts between.
        if beat > from {
            prop_assert_eq!(line.position(from).beat, line.position(beat - 1).beat);
        }
    }
}
