//! [`SongMap`]: where the beats, chords and sections of a song lie in its recordings, in seconds. Made of a chart
//! ([`SongMap::of_chart`]) or, for a take, beat by beat as it is played. Pages and DAW projects are made of it; the
//! model doesn't use it.

use super::{Chart, Meter};

/// A beat.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beat {
    /// Where it begins, in seconds from the start of the recordings.
    pub seconds: f64,
    /// Its bar; 1 is the first. Bars of 0 and below come before it.
    pub bar: i64,
    /// Its number in the bar, from 1.
    pub number: u32,
    /// The meter.
    pub meter: Meter,
    /// The tempo from here on, quarter notes a minute.
    pub tempo: f64,
}

/// Beats, chords and sections, each in order of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SongMap {
    /// The beats; empty where there is no clock.
    pub beats: Vec<Beat>,
    /// Where a chord begins, and its symbol; empty: no chord from here on.
    pub chords: Vec<(f64, String)>,
    /// Where a section begins, and its name; empty: it has none.
    pub sections: Vec<(f64, String)>,
}

impl SongMap {
    /// The beats and chords of a chart within the first `seconds`.
    pub fn of_chart(chart: &Chart, seconds: f64) -> SongMap {
        let mut map = SongMap::default();
        let (meter, chords) = (chart.meter(), chart.chords());
        let beats = meter.beats();
        let quarters_per_beat = meter.quarters() as f64 / beats as f64;
        let mut last: (Option<&str>, Option<usize>) = (None, None);
        for bar in chart.bar_at(0.0).. {
            if chart.time_of(bar, 0.0) >= seconds {
                break;
            }
            for n in 0..beats {
                let at = |n: i64| chart.time_of(bar, n as f64 / beats as f64);
                let tempo = 60.0 / (at(n + 1) - at(n)) * quarters_per_beat;
                if (0.0..seconds).contains(&at(n)) {
                    map.beats.push(Beat { seconds: at(n), bar: bar + 1, number: n as u32 + 1, meter, tempo });
                }
            }
            let section = chords.section(bar);
            if section.map(|s| s.0) != last.1 {
                last.1 = section.map(|s| s.0);
                map.sections.push((chart.time_of(bar, 0.0).max(0.0), section.map_or("", |s| s.1).to_owned()));
            }
            let symbols = chords.symbols(bar);
            let count = symbols.len();
            for (n, symbol) in symbols.enumerate() {
                let from = chart.time_of(bar, n as f64 / count as f64);
                let to = chart.time_of(bar, (n + 1) as f64 / count as f64);
                if to > 0.0 && from < seconds && last.0 != Some(symbol) {
                    last.0 = Some(symbol);
                    map.chords.push((from.max(0.0), symbol.to_owned()));
                }
            }
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::super::BeatMap;
    use super::*;

    #[test]
    fn a_chart_has_its_beats_chords_and_sections_at_their_seconds() {
        // Bars of 2 s, the second one from 0.5 s on.
        let chart = Chart::new(120.0, -1.5, Meter::FourFour).unwrap().with_chords("[A] Em C,D,G [B] Em").unwrap();
        let map = SongMap::of_chart(&chart, 5.0);
        let beats: Vec<_> = map.beats.iter().map(|b| (b.seconds, b.bar, b.number)).collect();
        assert_eq!(beats[..3], [(0.0, 1, 4), (0.5, 2, 1), (1.0, 2, 2)]);
        assert_eq!(beats.last(), Some(&(4.5, 4, 1)));
        assert!(map.beats.iter().all(|b| (b.tempo - 120.0).abs() < 1e-9));
        let close = |found: &[(f64, String)], want: &[(f64, &str)]| {
            assert_eq!(found.len(), want.len(), "{found:?}");
            assert!(found.iter().zip(want).all(|(f, w)| (f.0 - w.0).abs() < 1e-9 && f.1 == w.1), "{found:?}");
        };
        // The last Em is still the chord when the chart starts again with Em.
        close(&map.chords, &[(0.0, "Em"), (0.5, "C"), (0.5 + 2.0 / 3.0, "D"), (0.5 + 4.0 / 3.0, "G"), (2.5, "Em")]);
        close(&map.sections, &[(0.0, "A"), (2.5, "B"), (4.5, "A")]);
    }

    #[test]
    fn beats_of_a_map_are_where_the_map_has_them_and_go_on_around_it() {
        let beats = [1.0, 1.5, 2.1, 2.7];
        let chart = Chart::of_beats(BeatMap::new(&beats, 1).unwrap(), Meter::ThreeFour);
        let map = SongMap::of_chart(&chart, 4.0);
        let found: Vec<_> = map.beats.iter().map(|b| ((b.seconds * 1e3).round() as i64, b.bar, b.number)).collect();
        let want = [(0, 0, 1), (500, 0, 2), (1000, 0, 3), (1500, 1, 1), (2100, 1, 2), (2700, 1, 3), (3300, 2, 1), (3900, 2, 2)];
        assert_eq!(found, want);
    }
}
