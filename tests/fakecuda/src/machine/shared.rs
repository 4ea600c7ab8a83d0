//! A block's shared memory with its checks: bounds, initialised bytes, copies in progress, races.

use std::collections::HashMap;

use super::clock::Clocks;
use super::fault::{FaultKind, Run, Trouble};
use super::race::{Cell, Published, Record};

/// Shared memory of one block.
#[derive(Default)]
pub struct Shared {
    bytes: Vec<u8>,
    /// For each four bytes: which are initialised (low bits), which wait for an asynchronous copy (high bits).
    state: Vec<u8>,
    cells: Vec<Cell>,
    races: bool,
    /// What strong writes to an address have published.
    pub published: HashMap<u32, Published>,
    names: Vec<(u32, u32, String)>,
    /// The first read of uninitialised bytes: its thread and instruction. It is reported when nothing explains it better (a
    /// missing barrier often shows this way first, and as a race a little later).
    pub uninitialised: Option<(usize, u32, Trouble)>,
}

/// The thread that accesses.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    /// The block's clocks.
    pub clocks: &'a Clocks,
    /// Warp in the block.
    pub warp: usize,
    /// Lane in the warp.
    pub lane: u32,
    /// The instruction.
    pub pc: u32,
    /// Whether the access is atomic or volatile.
    pub strong: bool,
}

impl Shared {
    /// Resets it to `bytes` uninitialised bytes.
    pub fn reset(&mut self, bytes: usize, races: bool, names: &[(u32, u32, String)]) {
        self.bytes.clear();
        self.bytes.resize(bytes, 0xff);
        self.state.clear();
        self.state.resize(bytes.div_ceil(4), 0);
        self.cells.clear();
        if races {
            self.cells.resize(bytes.div_ceil(4), Cell::default());
        }
        self.races = races;
        self.published.clear();
        self.uninitialised = None;
        if self.names.len() != names.len() || self.names.iter().zip(names).any(|(a, b)| a != b) {
            self.names = names.to_vec();
        }
    }

    fn name(&self, at: u64) -> String {
        let found = self.names.iter().filter(|n| n.0 as u64 <= at).max_by_key(|n| n.0);
        match found {
            Some((start, bytes, name)) if *bytes == u32::MAX => format!("byte {} of dynamic `{name}`", at - *start as u64),
            Some((start, bytes, name)) if at < (*start + *bytes) as u64 => format!("byte {} of `{name}`", at - *start as u64),
            Some((start, bytes, name)) => format!("{} bytes past the end of `{name}`", at - (*start + *bytes) as u64),
            None => format!("byte {at}"),
        }
    }

    fn check(&self, at: u64, bytes: u32, lane: u32) -> Run<()> {
        if at.checked_add(bytes as u64).is_none_or(|end| end > self.bytes.len() as u64) {
            let detail =
                format!("{bytes} bytes at shared address {at:#x} ({}), the block has {} bytes", self.name(at), self.bytes.len());
            return Err(Trouble::new(FaultKind::SharedOutOfBounds, lane, detail));
        }
        if !at.is_multiple_of(bytes as u64) {
            return Err(Trouble::new(FaultKind::Misaligned, lane, format!("{bytes} bytes at shared address {at:#x}")));
        }
        Ok(())
    }

    /// Notes an access in the history.
    fn note(&mut self, at: u64, bytes: u32, who: Who, writes: bool, same: bool) -> Run<()> {
        let mut a = at;
        let end = at + bytes as u64;
        while a < end {
            let word = (a / 4) as usize;
            let stop = (a / 4 * 4 + 4).min(end);
            let mask = (((1u32 << (stop - a)) - 1) << (a % 4)) as u8;
            if self.state[word] >> 4 & mask != 0 {
                let detail = format!("{} is touched while cp.async still writes it", self.name(a));
                return Err(Trouble::new(FaultKind::CopyNotWaited, who.lane, detail));
            }
            if !writes && self.state[word] & mask != mask {
                let detail = format!("{} was never written", self.name(a));
                let trouble = Trouble::new(FaultKind::SharedUninitialised, who.lane, detail);
                if !self.races {
                    return Err(trouble);
                }
                self.uninitialised.get_or_insert((who.warp, who.pc, *trouble));
            }
            if writes {
                self.state[word] |= mask;
            }
            a = stop;
            if !self.races {
                continue;
            }
            let record = Record::new(0, who.warp as u32, who.lane, who.clocks.now, who.strong, mask);
            let before = |r: Record| who.clocks.before(who.warp, r.warp() as usize, r.time());
            if let Some((r, wrote)) = self.cells[word].access(record, writes, same, before) {
                let missing = if r.warp() as usize == who.warp { "__syncwarp" } else { "__syncthreads" };
                let detail = format!(
                    "{} is {} here and was {} by thread {} of the block with no {missing} between",
                    self.name(word as u64 * 4),
                    if writes { "written" } else { "read" },
                    if wrote { "written" } else { "read" },
                    r.warp() * 32 + r.lane(),
                );
                return Err(Trouble::new(FaultKind::SharedRace, who.lane, detail));
            }
        }
        Ok(())
    }

    /// Checks the bounds and alignment of a whole access (a vector is one), before its parts are read or written.
    pub fn access(&self, at: u64, bytes: u32, lane: u32) -> Run<()> {
        self.check(at, bytes, lane)
    }

    fn raw(&self, at: u64, bytes: u32) -> u64 {
        let mut b = [0; 8];
        b[..bytes as usize].copy_from_slice(&self.bytes[at as usize..at as usize + bytes as usize]);
        u64::from_le_bytes(b)
    }

    /// Loads up to 8 bytes.
    pub fn load(&mut self, at: u64, bytes: u32, who: Who) -> Run<u64> {
        self.check(at, bytes, who.lane)?;
        self.note(at, bytes, who, false, false)?;
        Ok(self.raw(at, bytes))
    }

    /// Stores up to 8 bytes; true if that changed them.
    pub fn store(&mut self, at: u64, bytes: u32, value: u64, who: Who) -> Run<bool> {
        self.check(at, bytes, who.lane)?;
        let mask = if bytes == 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 };
        let same = self.raw(at, bytes) == value & mask;
        self.note(at, bytes, who, true, same)?;
        self.bytes[at as usize..at as usize + bytes as usize].copy_from_slice(&value.to_le_bytes()[..bytes as usize]);
        Ok(!same)
    }

    /// Reads and writes in one operation.
    pub fn update(&mut self, at: u64, bytes: u32, who: Who, f: impl Fn(u64) -> u64) -> Run<u64> {
        self.check(at, bytes, who.lane)?;
        self.note(at, bytes, who, false, false)?;
        let old = self.raw(at, bytes);
        self.note(at, bytes, who, true, false)?;
        self.bytes[at as usize..at as usize + bytes as usize].copy_from_slice(&f(old).to_le_bytes()[..bytes as usize]);
        Ok(old)
    }

    /// Marks bytes that an asynchronous copy will write.
    pub fn promise(&mut self, at: u64, bytes: u32, who: Who) -> Run<()> {
        self.check(at, bytes, who.lane)?;
        // The copy may write at any moment: it must not race with earlier accesses either.
        self.note(at, bytes, who, true, false)?;
        self.state[at as usize / 4..(at + bytes as u64) as usize / 4].fill(0xf0);
        Ok(())
    }

    /// The copy is complete.
    pub fn keep(&mut self, at: u64, data: &[u8], who: Who) -> Run<()> {
        let at = at as usize;
        self.state[at / 4..(at + data.len()) / 4].fill(0);
        self.note(at as u64, data.len() as u32, who, true, false)?;
        self.bytes[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
}
