//! Sampling on the device: parameters, grid shape, and the shared memory that the kernel needs.

use super::device::Device;
use super::kernel::{self, Kernel};
use super::mem::Array;
use crate::{BackendError, Grid, Sampling};

/// Shared memory that a block has on every device, less what the kernel declares itself.
const SHARED: usize = (48 << 10) - 256;
/// Index of the counter of samples without a finite logit.
const NONFINITE: usize = 7;

/// Sampling parameters, grid shape and counters in the device's memory.
pub struct Sampler {
    grid: Grid,
    /// temperature, top_p, cfg (bits), top_k, seed low and high, frame_base, samples without a finite logit.
    sampling: Array<u32>,
    cards: Array<i32>,
    delays: Array<i32>,
    cfg_scale: Array<f32>,
    /// Blocks of a launch that are done; zero between launches.
    finished: Array<u32>,
    /// The largest card, rounded up to a multiple of four and to a power of two.
    logits_len: usize,
    sort_len: usize,
}

impl Sampler {
    pub(super) fn new(device: &mut Device, grid: &Grid) -> Result<Sampler, BackendError> {
        let bad = |what: String| Err(BackendError::Shape { op: "sampler", what });
        let (cards, delays, cfg_scale) = (grid.cards.len(), grid.delays.len(), grid.cfg_scale.len());
        if cards != delays || cards != cfg_scale || cards == 0 {
            return bad(format!("{cards} cards, {delays} delays and {cfg_scale} guidance scales; one of each for every stream"));
        }
        if grid.songs == 0 || !(1..=2).contains(&grid.branches) || grid.steps == 0 {
            return bad(format!("{} songs of {} branches, {} steps; branches is 1 or 2", grid.songs, grid.branches, grid.steps));
        }
        let largest = grid.cards.iter().copied().max().unwrap_or(0);
        let sort = largest.checked_next_power_of_two().unwrap_or(usize::MAX).max(2);
        if grid.cards.contains(&0) || sort > 1 << 16 || 4 * largest + 8 * sort > SHARED {
            return bad(format!("cards {:?}; from 1 to 4032 on a GPU", grid.cards));
        }
        let ints = |v: &[usize]| v.iter().map(|x| *x as i32).collect::<Vec<_>>();
        let mut sampler = Sampler {
            grid: grid.clone(),
            sampling: Array::zeros(device, NONFINITE + 1, "sampling")?,
            cards: Array::of(device, &ints(&grid.cards), "cards")?,
            delays: Array::of(device, &ints(&grid.delays), "delays")?,
            cfg_scale: Array::of(device, &grid.cfg_scale, "guidance scales")?,
            finished: Array::zeros(device, 1, "a counter")?,
            logits_len: largest.next_multiple_of(4),
            sort_len: sort,
        };
        sampler.set(device, &Sampling { temperature: 1.0, top_k: 0, top_p: 0.0, cfg: 1.0, seed: 0, frame_base: 0 });
        Ok(sampler)
    }

    pub(super) fn set(&mut self, device: &mut Device, s: &Sampling) {
        let words = [
            s.temperature.to_bits(),
            s.top_p.to_bits(),
            s.cfg.to_bits(),
            s.top_k,
            s.seed as u32,
            (s.seed >> 32) as u32,
            s.frame_base as u32,
        ];
        device.write(&mut self.sampling, 0, &words);
    }

    pub(super) fn nonfinite(&self, device: &mut Device) -> u32 {
        let mut count = [0];
        device.read(&self.sampling, NONFINITE, &mut count);
        count[0]
    }

    pub(super) fn sample(
        &mut self,
        device: &mut Device,
        logits: &Array<f32>,
        n: usize,
        pos: &mut Array<i32>,
        seq: &mut Array<i32>,
    ) {
        let Grid { songs, branches, ref cards, steps, .. } = self.grid;
        let width: usize = cards.iter().sum();
        assert!(logits.len() >= songs * branches * width, "sample: logits of {}", logits.len());
        assert!(seq.len() >= songs * cards.len() * steps, "sample: sequence of {}", seq.len());
        let arguments = kernel::Sample {
            logits: device.at(logits),
            seq: device.at(seq),
            pos: device.at(pos),
            sampling: device.at(&self.sampling),
            cards: device.at(&self.cards),
            delays: device.at(&self.delays),
            cfg_scale: device.at(&self.cfg_scale),
            finished: device.at(&self.finished),
            songs: songs as i32,
            branches: branches as i32,
            streams: cards.len() as i32,
            steps: steps as i32,
            width: width as i32,
            n: n as i32,
            logits_len: self.logits_len as i32,
            sort_len: self.sort_len as i32,
        };
        let shared = 4 * self.logits_len + 8 * self.sort_len;
        device.launch(Kernel::Sample, ((songs * cards.len()) as u32, 1), 256, shared as u32, arguments);
    }
}
