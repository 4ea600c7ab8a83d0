//! A warp: registers of 32 lanes, and the program counter of each lane.
//!
//! Lanes with the same program counter run in lockstep. The group with the lowest one runs first, so groups merge
//! where their paths join. A group that waits for other lanes (a `.sync` instruction) is parked until they arrive.

use super::fault::{FaultKind, Run, Trouble};
use crate::program::lane::V;
use crate::program::op::{CONSTANT, Pred, Reg, Src};

/// Lanes with the same program counter.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Program counter.
    pub pc: u32,
    /// Its lanes.
    pub mask: u32,
    /// Lanes that it waits for; 0 if it can run.
    pub needs: u32,
    /// It is in a wait loop: others run first.
    pub asleep: bool,
}

/// State of a warp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can run.
    Ready,
    /// It waits at this barrier.
    Waiting(u32),
    /// All lanes have exited.
    Done,
}

/// An asynchronous copy that has not been waited for.
pub struct PendingCopy {
    /// Lane that started it.
    pub lane: u32,
    /// Shared address.
    pub to: u64,
    /// Its bytes.
    pub data: Vec<u8>,
    /// Its lane's commit group; `u32::MAX` before the commit.
    pub group: u32,
}

/// One warp.
pub struct Warp {
    /// Number in the block.
    pub index: usize,
    /// Data registers.
    pub registers: Vec<V>,
    /// Predicate registers: one bit a lane.
    pub predicates: Vec<u32>,
    /// The carry flag.
    pub carry: u32,
    /// Lanes that have not exited.
    pub live: u32,
    /// Groups; the running one is taken out while it runs.
    pub groups: Vec<Group>,
    /// Whether it can run.
    pub state: State,
    /// Local memory of all lanes, one after another.
    pub local: Vec<u8>,
    /// Asynchronous copies in progress, oldest first.
    pub copies: Vec<PendingCopy>,
    /// Commit groups so far, per lane.
    pub commits: [u32; 32],
    /// A strong load or an atomic ran since the last jump back: the loop may be a wait loop.
    pub polled: bool,
    /// Instructions run.
    pub steps: u64,
}

impl Warp {
    /// A warp before its first block.
    pub fn new(index: usize) -> Self {
        Warp {
            index,
            registers: Vec::new(),
            predicates: Vec::new(),
            carry: 0,
            live: 0,
            groups: Vec::new(),
            state: State::Done,
            local: Vec::new(),
            copies: Vec::new(),
            commits: [0; 32],
            polled: false,
            steps: 0,
        }
    }

    /// Ready to start, with these lanes.
    pub fn reset(&mut self, registers: u32, predicates: u32, local: u32, live: u32) {
        self.registers.clear();
        self.registers.resize(registers as usize, [0; 32]);
        self.predicates.clear();
        self.predicates.resize(predicates as usize, 0);
        self.carry = 0;
        self.live = live;
        self.groups.clear();
        self.groups.push(Group { pc: 0, mask: live, needs: 0, asleep: false });
        self.state = State::Ready;
        self.local.clear();
        self.local.resize(local as usize * 32, 0xff);
        self.copies.clear();
        self.commits = [0; 32];
        self.polled = false;
        self.steps = 0;
    }

    /// The operand's lanes.
    #[inline(always)]
    pub fn get<'a>(&'a self, s: Src, constants: &'a [V]) -> &'a V {
        if s >= CONSTANT { &constants[(s - CONSTANT) as usize] } else { &self.registers[s as usize] }
    }

    /// Writes the lanes of `mask`.
    #[inline(always)]
    pub fn set(&mut self, to: Reg, mask: u32, value: &V) {
        let r = &mut self.registers[to as usize];
        if mask == u32::MAX {
            *r = *value;
        } else {
            for i in 0..32 {
                if mask >> i & 1 == 1 {
                    r[i] = value[i];
                }
            }
        }
    }

    /// A predicate operand.
    #[inline(always)]
    pub fn pred(&self, p: Pred) -> u32 {
        let v = self.predicates[p.0 as usize];
        if p.1 { !v } else { v }
    }

    /// Writes the lanes of `mask` of a predicate.
    #[inline(always)]
    pub fn set_pred(&mut self, to: u32, mask: u32, value: u32) {
        let p = &mut self.predicates[to as usize];
        *p = *p & !mask | value & mask;
    }

    /// Takes out the group to run next: the lowest that neither waits nor yields. None if there is none.
    pub fn take_next(&mut self) -> Option<Group> {
        let best = (0..self.groups.len())
            .filter(|i| self.groups[*i].needs == 0 && !self.groups[*i].asleep)
            .min_by_key(|i| self.groups[*i].pc)?;
        Some(self.groups.swap_remove(best))
    }

    /// Merges a running group with those at its program counter; returns the lowest one among the others that can run.
    pub fn join(&mut self, group: &mut Group) -> u32 {
        let mut lowest = u32::MAX;
        let mut i = 0;
        while i < self.groups.len() {
            if self.groups[i].pc == group.pc {
                group.mask |= self.groups[i].mask;
                self.groups.swap_remove(i);
            } else {
                if self.groups[i].needs == 0 && !self.groups[i].asleep {
                    lowest = lowest.min(self.groups[i].pc);
                }
                i += 1;
            }
        }
        lowest
    }

    /// Lanes exit. Other lanes may wait for them, which is a fault of the waiting lanes.
    pub fn exit(&mut self, lanes: u32, describe: impl Fn(&Group) -> (FaultKind, String)) -> Run<()> {
        self.live &= !lanes;
        if let Some(g) = self.groups.iter().find(|g| g.needs & lanes != 0) {
            let (kind, what) = describe(g);
            let lane = g.mask.trailing_zeros();
            let detail = format!("{what}: lanes {} exited instead of coming", ranges(g.needs & lanes));
            return Err(Trouble::new(kind, lane, detail));
        }
        Ok(())
    }
}

/// Lanes as text: `0-15,31`.
pub fn ranges(mask: u32) -> String {
    let mut out = Vec::new();
    let mut i = 0;
    while i < 32 {
        if mask >> i & 1 == 1 {
            let start = i;
            while i + 1 < 32 && mask >> (i + 1) & 1 == 1 {
                i += 1;
            }
            out.push(if i > start { format!("{start}-{i}") } else { format!("{start}") });
        }
        i += 1;
    }
    out.join(",")
}
