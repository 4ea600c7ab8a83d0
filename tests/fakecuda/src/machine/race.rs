//! Data races: the last write and reads of each four bytes, and whether a new access is ordered after them.
//!
//! A record is one thread's access: block, warp, lane, time, which of the four bytes, and whether it was strong
//! (atomic or volatile: two strong accesses never race). A cell keeps the last write and reads by two warps.

use std::collections::HashMap;
use std::sync::Mutex;

/// One access, packed in 64 bits; 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Record(u64);

impl Record {
    /// An access; `mask` says which of the four bytes, at least one.
    #[inline(always)]
    pub fn new(block: u32, warp: u32, lane: u32, time: u32, strong: bool, mask: u8) -> Self {
        Record(
            (block as u64 & 0xf_ffff) << 44
                | (warp as u64 & 31) << 39
                | (lane as u64 & 31) << 34
                | (strong as u64) << 32
                | (mask as u64 & 15) << 28
                | time as u64 & 0xfff_ffff,
        )
    }

    /// The block, modulo 2^20.
    pub fn block(self) -> u32 {
        (self.0 >> 44) as u32
    }
    /// The warp in its block.
    pub fn warp(self) -> u32 {
        (self.0 >> 39) as u32 & 31
    }
    /// The lane in its warp.
    pub fn lane(self) -> u32 {
        (self.0 >> 34) as u32 & 31
    }
    /// The block's time.
    pub fn time(self) -> u32 {
        self.0 as u32 & 0xfff_ffff
    }
    fn strong(self) -> bool {
        self.0 >> 32 & 1 == 1
    }
    fn several(self) -> bool {
        self.0 >> 33 & 1 == 1
    }
    fn mask(self) -> u8 {
        (self.0 >> 28) as u8 & 15
    }
    fn same_warp(self, o: Record) -> bool {
        self.0 >> 39 == o.0 >> 39
    }
    fn same_thread(self, o: Record) -> bool {
        self.0 >> 34 == o.0 >> 34
    }
}

/// The history of four bytes.
#[derive(Clone, Copy, Default)]
pub struct Cell {
    write: Record,
    reads: [Record; 2],
}

impl Cell {
    /// Notes an access and returns the earlier one it races with, and whether that one was a write.
    /// `before` tells whether a record happened before now; `same`, that the bytes keep their value.
    #[inline(always)]
    pub fn access(&mut self, r: Record, writes: bool, same: bool, before: impl Fn(Record) -> bool) -> Option<(Record, bool)> {
        let races = |old: Record| {
            let ordered = old.strong() && r.strong() || old.same_thread(r) && !old.several();
            old.mask() & r.mask() != 0 && !ordered && !before(old)
        };
        let mut found = None;
        if self.write.0 != 0 && !(writes && same) && races(self.write) {
            found = Some((self.write, true));
        }
        if writes {
            for old in self.reads {
                if old.0 != 0 && races(old) {
                    found = found.or(Some((old, false)));
                }
            }
            let mut r = r;
            if self.write.same_thread(r) {
                r.0 |= self.write.0 & 15 << 28;
            }
            self.write = r;
            self.reads = [Record(0); 2];
        } else if self.reads[0].0 == 0 || self.reads[0].same_warp(r) {
            self.reads[0] = merge(self.reads[0], r);
        } else {
            if !self.reads[1].same_warp(r) {
                self.reads[1] = Record(0);
            }
            self.reads[1] = merge(self.reads[1], r);
        }
        found
    }
}

/// A later read by the same warp: other lanes at the same time are remembered as "several".
fn merge(old: Record, new: Record) -> Record {
    if old.0 == 0 || old.time() != new.time() {
        return new;
    }
    let several = old.several() || !old.same_thread(new);
    let strong = old.strong() && new.strong();
    Record(new.0 & !(1 << 32) | (strong as u64) << 32 | (several as u64) << 33 | old.0 & 15 << 28)
}

const PAGE: u64 = 4096;

#[derive(Default)]
struct Page {
    cells: Option<Box<[Cell; 1024]>>,
    /// Four-byte words read through the read-only path.
    read_only: Option<Box<[u32; 32]>>,
}

/// A race in global memory.
pub enum Clash {
    /// With an earlier access, a write or not.
    With(Record, bool),
    /// A word is both written and read through the read-only path in one launch.
    ReadOnly,
}

/// The history of global memory in one launch. Pages are made at their first access.
pub struct GlobalRaces {
    shards: Vec<Mutex<HashMap<u64, Page>>>,
}

impl Default for GlobalRaces {
    fn default() -> Self {
        GlobalRaces { shards: (0..64).map(|_| Mutex::default()).collect() }
    }
}

/// The words of a page that `bytes` at `address` are in, and which of their four bytes.
fn words(address: u64, bytes: u32) -> impl Iterator<Item = (usize, u8)> {
    let (first, end) = (address / 4, address + bytes as u64);
    (first..end.div_ceil(4)).map(move |word| {
        let (from, to) = (address.max(4 * word), end.min(4 * word + 4));
        ((word % (PAGE / 4)) as usize, (((1u32 << (to - from)) - 1) << (from % 4)) as u8)
    })
}

/// How a warp accesses global memory.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Way {
    Read,
    Write,
}

impl GlobalRaces {
    /// Notes a warp's loads through the read-only path, one lock a page; returns a lane whose word was written.
    pub fn read_only(&self, addresses: &[u64; 32], mask: u32, bytes: u32) -> Option<usize> {
        let (mut lanes, mut found) = (mask, None);
        while lanes != 0 {
            let number = addresses[lanes.trailing_zeros() as usize] / PAGE;
            let mut shard = self.shards[(number % 64) as usize].lock().unwrap_or_else(|e| e.into_inner());
            let page = shard.entry(number).or_default();
            let seen = page.read_only.get_or_insert_with(|| Box::new([0; 32]));
            // An access is aligned, so it is in one page. Lanes of the same page share one lock.
            for i in (lanes.trailing_zeros() as usize..32).filter(|i| mask >> i & 1 == 1) {
                if lanes >> i & 1 == 0 || addresses[i] / PAGE != number {
                    continue;
                }
                lanes &= !(1 << i);
                let first = (addresses[i] % PAGE / 4) as usize;
                for word in first..=((addresses[i] % PAGE + bytes as u64 - 1) / 4) as usize {
                    seen[word / 32] |= 1 << (word % 32);
                    if page.cells.as_ref().is_some_and(|c| c[word].write.mask() != 0) {
                        found = found.or(Some(i));
                    }
                }
            }
        }
        found
    }

    /// Notes a warp's plain loads, one lock a page; returns a lane whose load races, and with what.
    pub fn reads(
        &self,
        addresses: &[u64; 32],
        mask: u32,
        bytes: u32,
        record: impl Fn(usize, u8) -> Record,
        before: impl Fn(Record) -> bool,
    ) -> Option<(usize, Clash)> {
        let (mut lanes, mut found) = (mask, None);
        while lanes != 0 {
            let number = addresses[lanes.trailing_zeros() as usize] / PAGE;
            let mut shard = self.shards[(number % 64) as usize].lock().unwrap_or_else(|e| e.into_inner());
            let cells = shard.entry(number).or_default().cells.get_or_insert_with(|| Box::new([Cell::default(); 1024]));
            for i in (lanes.trailing_zeros() as usize..32).filter(|i| mask >> i & 1 == 1) {
                if lanes >> i & 1 == 0 || addresses[i] / PAGE != number {
                    continue;
                }
                lanes &= !(1 << i);
                for (word, mask) in words(addresses[i], bytes) {
                    if let Some((r, wrote)) = cells[word].access(record(i, mask), false, false, &before) {
                        found = found.or(Some((i, Clash::With(r, wrote))));
                    }
                }
            }
        }
        found
    }

    /// Notes one lane's access to `bytes` at `address` and does it (`act`) before another is noted there. Atomics of two blocks
    /// must be noted in the order in which they happen; otherwise a later plain store would seem to race with the earlier
    /// atomic.
    #[allow(clippy::too_many_arguments)]
    pub fn access<T>(
        &self,
        address: u64,
        bytes: u32,
        way: Way,
        same: bool,
        record: impl Fn(u8) -> Record,
        before: impl Fn(Record) -> bool,
        act: impl FnOnce() -> T,
    ) -> (T, Option<Clash>) {
        let page = address / PAGE;
        let mut shard = self.shards[(page % 64) as usize].lock().unwrap_or_else(|e| e.into_inner());
        let page = shard.entry(page).or_default();
        let mut found = None;
        for (word, mask) in words(address, bytes) {
            if way == Way::Write && page.read_only.as_ref().is_some_and(|r| r[word / 32] >> (word % 32) & 1 == 1) {
                found = found.or(Some(Clash::ReadOnly));
            }
            let cells = page.cells.get_or_insert_with(|| Box::new([Cell::default(); 1024]));
            if let Some((r, w)) = cells[word].access(record(mask), way == Way::Write, same, &before) {
                found = found.or(Some(Clash::With(r, w)));
            }
        }
        (act(), found)
    }
}

/// What strong writes to an address have published.
#[derive(Default)]
pub struct Published {
    /// For each block: up to when its accesses are published here.
    blocks: Vec<u32>,
    /// The last publishing block, and its warp's clocks of that block.
    within: Option<(u32, [u32; 32])>,
}

impl Published {
    /// Adds what a warp of `block` publishes.
    pub fn add(&mut self, block: u32, time: u32, seen: &[u32; 32], knows: &[u32]) {
        let len = (block as usize + 1).max(knows.len());
        if self.blocks.len() < len {
            self.blocks.resize(len, 0);
        }
        for (to, from) in self.blocks.iter_mut().zip(knows) {
            *to = (*to).max(*from);
        }
        self.blocks[block as usize] = self.blocks[block as usize].max(time);
        match &mut self.within {
            Some((b, have)) if *b == block => have.iter_mut().zip(seen).for_each(|(to, from)| *to = (*to).max(*from)),
            other => *other = Some((block, *seen)),
        }
    }

    /// What a warp of `block` acquires here.
    pub fn learn(&self, clocks: &mut super::clock::Clocks, block: u32, warp: usize) {
        clocks.learn_blocks(&self.blocks);
        if let Some((_, seen)) = self.within.as_ref().filter(|(b, _)| *b == block) {
            clocks.learn(warp, seen);
        }
    }
}
