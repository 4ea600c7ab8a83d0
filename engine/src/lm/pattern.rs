//! The delay pattern: which frame of which stream is at which step. Only this module computes with delays.
//!
//! Column (step) 0 of the sequence holds the special id on every stream. The token of frame t of stream k is
//! in column `t + delay_k + 1`, and is predicted by the forward pass that is fed column `t + delay_k`
//! (docs/explanation/musicgen-stem.md section 6). Delays need not be sorted. In a lagged run those of the
//! input stem's streams are larger by the lag.

/// The delay pattern of a grid of frames.
///
/// ```
/// use sideman_engine::lm::Pattern;
///
/// // Two streams with the delays 0 and 1, three frames; 9 is the special id.
/// let pattern = Pattern::new(&[0, 1], 3);
/// let sequence = pattern.lay_out(&[0, 1, 2, 3, 4, 5], &[9, 9]);
/// assert_eq!(sequence, [9, 0, 1, 2, 9, 9, 9, 3, 4, 5]);
/// assert_eq!(pattern.frame(1, 2), Some(0));
/// assert_eq!(pattern.revert(&sequence), [0, 1, 2, 3, 4, 5]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    delays: Vec<usize>,
    frames: usize,
}

impl Pattern {
    /// The pattern of a grid of `frames` frames of `delays.len()` streams.
    pub fn new(delays: &[usize], frames: usize) -> Self {
        Pattern { delays: delays.to_vec(), frames }
    }

    /// Delays with `lag` added on the streams for which `input_stem` is true, as live play uses them.
    pub fn lagged(delays: &[usize], input_stem: &[bool], lag: usize) -> Vec<usize> {
        delays.iter().zip(input_stem).map(|(&d, &p)| if p { d + lag } else { d }).collect()
    }

    /// Delay of each stream.
    pub fn delays(&self) -> &[usize] {
        &self.delays
    }

    /// Number of streams.
    pub fn streams(&self) -> usize {
        self.delays.len()
    }

    /// Frames of the grid.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Columns of the whole sequence: 1 + frames + the largest delay.
    pub fn steps(&self) -> usize {
        1 + self.frames + self.delays.iter().max().copied().unwrap_or(0)
    }

    /// Frame of `stream` in column `step`; `None` where the slot holds the special id.
    pub fn frame(&self, stream: usize, step: usize) -> Option<usize> {
        step.checked_sub(self.delays[stream] + 1).filter(|&t| t < self.frames)
    }

    /// Column of frame `frame` of `stream`.
    pub fn step(&self, stream: usize, frame: usize) -> usize {
        frame + self.delays[stream] + 1
    }

    /// First column that holds frame `frame` of any stream.
    pub fn first_step(&self, frame: usize) -> usize {
        frame + self.delays.iter().min().copied().unwrap_or(0) + 1
    }

    /// The sequence `[streams, steps]` of a grid `[streams, frames]`, with `specials[k]` where stream k has
    /// no frame.
    pub fn lay_out(&self, grid: &[i32], specials: &[i32]) -> Vec<i32> {
        let mut seq = Vec::with_capacity(self.streams() * self.steps());
        for (k, &special) in specials.iter().enumerate() {
            let row = &grid[k * self.frames..(k + 1) * self.frames];
            seq.extend((0..self.steps()).map(|s| self.frame(k, s).map_or(special, |t| row[t])));
        }
        seq
    }

    /// The grid `[streams, frames]` of a sequence `[streams, steps]`.
    pub fn revert(&self, seq: &[i32]) -> Vec<i32> {
        let row = |k: usize| &seq[k * self.steps()..(k + 1) * self.steps()];
        (0..self.streams()).flat_map(|k| row(k)[self.delays[k] + 1..][..self.frames].iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Parses rows of numbers, `x` being UNKNOWN.
    fn rows(text: &str) -> Vec<i32> {
        text.split_whitespace().map(|w| w.parse().unwrap_or(sideman_kernels::UNKNOWN)).collect()
    }

    #[test]
    fn six_streams_follow_the_published_pattern() {
        let pattern = Pattern::new(&[0, 0, 0, 1, 2, 3], 4);
        let grid: Vec<i32> = (0..24).collect();
        let expected = rows(
            "99 0 1 2 3 99 99 99  99 4 5 6 7 99 99 99  99 8 9 10 11 99 99 99
             99 99 12 13 14 15 99 99  99 99 99 16 17 18 19 99  99 99 99 99 20 21 22 23",
        );
        assert_eq!(pattern.steps(), 8);
        assert_eq!(pattern.lay_out(&grid, &[99; 6]), expected);
        assert_eq!(pattern.revert(&expected), grid);
    }

    #[test]
    fn seven_streams_follow_the_published_pattern() {
        // First steps of the 7cb layout (section 15): frame of each stream, x where there is none.
        let pattern = Pattern::new(&[0, 1, 0, 0, 1, 2, 3], 10);
        let frames = |s| (0..7).map(|k| pattern.frame(k, s).map_or(-1, |t| t as i32)).collect::<Vec<_>>();
        assert_eq!(frames(0), rows("x x x x x x x"));
        assert_eq!(frames(1), rows("0 x 0 0 x x x"));
        assert_eq!(frames(2), rows("1 0 1 1 0 x x"));
        assert_eq!(frames(3), rows("2 1 2 2 1 0 x"));
    }

    #[test]
    fn an_edit_follows_the_published_pattern() {
        // Toy of section 6: 10 source frames, decimation 5, bass regenerated, the others forced.
        let mut grid = vec![];
        for k in 0..6 {
            let code = |f: i32| if k == 0 { 2048 } else { 100 * k + f };
            grid.extend([code(0), code(5), 2048]);
            grid.extend((0..4).map(|f| if k == 0 { sideman_kernels::UNKNOWN } else { code(f) }));
        }
        let pattern = Pattern::new(&[0, 0, 0, 1, 2, 3], 7);
        let expected = rows(
            "2048 2048 2048 2048 x x x x 2048 2048 2048  2048 100 105 2048 100 101 102 103 2048 2048 2048
             2048 200 205 2048 200 201 202 203 2048 2048 2048  2048 2048 300 305 2048 300 301 302 303 2048 2048
             2048 2048 2048 400 405 2048 400 401 402 403 2048  2048 2048 2048 2048 500 505 2048 500 501 502 503",
        );
        assert_eq!(pattern.lay_out(&grid, &[2048; 6]), expected);
        assert_eq!(pattern.first_step(3), 4);
    }

    #[test]
    fn the_full_model_has_the_published_number_of_steps() {
        assert_eq!(Pattern::new(&[0, 0, 0, 1, 2, 3], 1500).steps(), 1504);
        assert_eq!(Pattern::new(&Pattern::lagged(&[0, 0, 0, 1], &[true, false, false, false], 8), 10).delays(), [8, 0, 0, 1]);
    }

    proptest! {
        #[test]
        fn every_frame_has_one_column(delays in prop::collection::vec(0usize..30, 1..8), frames in 1usize..40) {
            let pattern = Pattern::new(&delays, frames);
            let streams = delays.len();
            let grid: Vec<i32> = (0..(streams * frames) as i32).collect();
            let seq = pattern.lay_out(&grid, &vec![-7; streams]);
            prop_assert_eq!(seq.len(), streams * pattern.steps());
            prop_assert_eq!(pattern.revert(&seq), grid);
            prop_assert_eq!(seq.iter().filter(|&&c| c == -7).count(), streams * (pattern.steps() - frames));
            for k in 0..streams {
                prop_assert_eq!(pattern.frame(k, 0), None);
                for t in 0..frames {
                    prop_assert_eq!(pattern.frame(k, pattern.step(k, t)), Some(t));
                    prop_assert!(pattern.step(k, t) >= pattern.first_step(t) && pattern.step(k, t) < pattern.steps());
                }
            }
        }
    }
}
