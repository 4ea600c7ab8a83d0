//! The draw on the device: sampling parameters, grid shape, and how much shared memory the kernel needs.

use super::device::Device;
use super::kernel::{self, Kernel};
use super::mem::Array;
use crate::{BackendError, Grid, Sampling};

/// Shared memory that every device gives a block, less what the kernel declares itself.
const SHARED: usize = (48 << 10) - 256;
/// Where `faults` lies among the sampling parameters.
const FAULTS: usize = 7;

/// Sampling parameters, grid shape and counters in the device's memory.
pub struct Picker {
    grid: Grid,
    /// temperature, top_p, cfg (bits), top_k, seed low and high, frame_base, faults.
    sampling: Array<u32>,
    cards: Array<i32>,
    delays: Array<i32>,
    cfg_scale: Array<f32>,
    ticket: Array<u32>,
    /// Largest card up to fours, and the power of two from it on.
    room: (usize, usize),
}

impl Picker {
    pub(super) fn new(device: &mut Device, grid: &Grid) -> Result<Picker, BackendError> {
        let bad = |what: String| Err(BackendError::Shape { op: "picker", what });
        let (cards, delays, cfg_scale) = (grid.cards.len(), grid.delays.len(), grid.cfg_scale.len());
        if cards != delays || cards != cfg_scale || cards == 0 {
            return bad(format!("{cards} cards, {delays} delays and {cfg_scale} leans; one of each for every stream"));
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
        let mut picker = Picker {
            grid: grid.clone(),
            sampling: Array::zeros(device, FAULTS + 1, "sampling")?,
            cards: Array::of(device, &ints(&grid.cards), "cards")?,
            delays: Array::of(device, &ints(&grid.delays), "delays")?,
            cfg_scale: Array::of(device, &grid.cfg_scale, "leans")?,
            ticket: Array::zeros(device, 1, "a counter")?,
            room: (largest.next_multiple_of(4), sort),
        };
        picker.set(device, &Sampling { temperature: 1.0, top_k: 0, top_p: 0.0, cfg: 1.0, seed: 0, frame_base: 0 });
        Ok(picker)
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

    pub(super) fn faults(&self, device: &mut Device) -> u32 {
        let mut faults = [0];
        device.read(&self.sampling, FAULTS, &mut faults);
        faults[0]
    }

    pub(super) fn pick(
        &mut self,
        device: &mut Device,
        logits: &Array<f32>,
        n: usize,
        pos: &mut Array<i32>,
        seq: &mut Array<i32>,
    ) {
        let Grid { songs, branches, ref cards, steps, .. } = self.grid;
        let width: usize = cards.iter().sum();
        assert!(logits.len() >= songs * branches * width, "pick: logits of {}", logits.len());
        assert!(seq.len() >= songs * cards.len() * steps, "pick: sequence of {}", seq.len());
        let arguments = kernel::Pick {
            logits: device.at(logits),
            seq: device.at(seq),
            pos: device.at(pos),
            sampling: device.at(&self.sampling),
            cards: device.at(&self.cards),
            delays: device.at(&self.delays),
            cfg_scale: device.at(&self.cfg_scale),
            ticket: device.at(&self.ticket),
            songs: songs as i32,
            branches: branches as i32,
            streams: cards.len() as i32,
            steps: steps as i32,
            width: width as i32,
            n: n as i32,
            room: self.room.0 as i32,
            sort: self.room.1 as i32,
        };
        let shared = 4 * self.room.0 + 8 * self.room.1;
        device.launch(Kernel::Pick, ((songs * cards.len()) as u32, 1), 256, shared as u32, arguments);
    }
}
