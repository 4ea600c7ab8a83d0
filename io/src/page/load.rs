//! [`Load`]: the computing time of hops over time, and which were late, in bounded memory.

use serde::Serialize;

use super::picture::Bytes;
use super::series::{Column, Series};

/// Seconds of a value.
const STEP: f64 = 0.25;
/// Most columns.
const COLUMNS: usize = 2400;
/// Most late hops that are shown. The first ones are kept.
const MOST_LATE: usize = 2_000;

/// Highest load in a column.
#[derive(Clone, Copy)]
struct Highest(f32);

impl Column for Highest {
    fn join(&mut self, later: &Self) {
        self.0 = self.0.max(later.0);
    }
}

/// Load over time, hop by hop.
pub struct Load {
    series: Series<Highest>,
    /// The highest load of the value that is not complete yet, and how many are.
    highest: f32,
    values: usize,
    late: Vec<f64>,
    /// Late hops so far; none: before the first hop.
    count: Option<u64>,
}

/// The same as a page has it.
#[derive(Serialize)]
pub(super) struct DrawnLoad {
    /// Percent, at most 255.
    #[serde(flatten)]
    bytes: Bytes,
    /// Seconds of late hops.
    late: Vec<f64>,
}

impl Default for Load {
    fn default() -> Self {
        Load { series: Series::new(COLUMNS), highest: 0.0, values: 0, late: Vec::new(), count: None }
    }
}

impl Load {
    /// Adds a hop that ended at `seconds`: its computing time divided by its length, and the late hops of the session so far.
    pub fn push(&mut self, seconds: f64, load: f32, late: u64) {
        if self.count.is_some_and(|count| late > count) && self.late.len() < MOST_LATE {
            self.late.push((seconds * 1e3).round() / 1e3);
        }
        self.count = Some(late);
        while seconds >= (self.values + 1) as f64 * STEP {
            self.series.push(Highest(std::mem::take(&mut self.highest)));
            self.values += 1;
        }
        self.highest = self.highest.max(load);
    }

    /// As a page has it.
    pub(super) fn draw(mut self) -> DrawnLoad {
        self.series.push(Highest(self.highest));
        let percent: Vec<u8> = self.series.columns().map(|(load, _)| (load.0 * 100.0).clamp(0.0, 255.0) as u8).collect();
        DrawnLoad { bytes: Bytes::new(STEP * self.series.stride() as f64, 1, &percent), late: self.late }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn load_and_late_hops_are_at_their_times() {
        let mut load = Load::default();
        // Hops of 80 ms for a minute. The one at 30 s takes twice its length, and the next one is late.
        for n in 1..=750 {
            load.push(f64::from(n) * 0.08, if n == 375 { 2.0 } else { 0.4 }, 5 + u64::from(n > 375));
        }
        let drawn = load.draw();
        let percent = STANDARD.decode(&drawn.bytes.data).unwrap();
        assert_eq!((percent.len(), percent[119], percent[120], percent[121]), (241, 40, 200, 40));
        assert_eq!(drawn.late, [30.08]);
    }
}
