//! Distinct sectors of device memory that a launch reads and writes: its least memory traffic, however often its blocks access
//! the same sectors.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::memory::Region;

/// Bytes of a sector.
pub const SECTOR: u64 = 32;

/// One bit a sector, by region; made at the first access to a region.
pub struct Touched {
    read: Vec<OnceLock<Box<[AtomicU64]>>>,
    written: Vec<OnceLock<Box<[AtomicU64]>>>,
}

impl Touched {
    /// No accesses.
    pub fn new(regions: &[Region]) -> Self {
        let none = || regions.iter().map(|_| OnceLock::new()).collect();
        Touched { read: none(), written: none() }
    }

    /// Marks an access. One outside of all regions has no sector (and is a fault).
    pub fn mark(&self, regions: &[Region], address: u64, bytes: u64, write: bool) {
        let i = regions.partition_point(|r| r.base <= address).wrapping_sub(1);
        let Some(region) = regions.get(i).filter(|r| r.holds(address, bytes)) else { return };
        let all = if write { &self.written[i] } else { &self.read[i] };
        let all = all.get_or_init(|| {
            let words = region.bytes.div_ceil(SECTOR).div_ceil(64);
            (0..words).map(|_| AtomicU64::new(0)).collect()
        });
        let from = address - region.base;
        for sector in from / SECTOR..=(from + bytes.max(1) - 1) / SECTOR {
            let (word, bit) = (&all[(sector / 64) as usize], 1 << (sector % 64));
            if word.load(Relaxed) & bit == 0 {
                word.fetch_or(bit, Relaxed);
            }
        }
    }

    /// Sectors read, sectors written.
    pub fn sectors(&self) -> (u64, u64) {
        let sum = |all: &[OnceLock<Box<[AtomicU64]>>]| {
            all.iter().filter_map(OnceLock::get).flatten().map(|w| u64::from(w.load(Relaxed).count_ones())).sum()
        };
        (sum(&self.read), sum(&self.written))
    }
}
