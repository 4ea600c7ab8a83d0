//! One block: its warps in turn, its barriers, and the state that a worker needs to run it.

use super::clock::{Arrival, Clocks};
use super::count::InstCount;
use super::exec;
use super::fault::{Fault, FaultKind, Run, Trouble};
use super::grid::{Order, Prepared};
use super::shared::Shared;
use super::warp::{State, Warp};
use crate::program::Special;
use crate::program::op::Barrier;

/// Why a warp stopped.
pub enum Stop {
    /// It is in a wait loop; other warps should run.
    Yield,
    /// It reached a barrier.
    #[allow(missing_docs)]
    Barrier { kind: Barrier, id: u32, count: Option<u32>, pc: u32 },
    /// All its lanes exited.
    Done,
}

/// What a warp uses besides its own state.
pub struct Env<'a> {
    /// The launch.
    pub launch: &'a Prepared<'a>,
    /// The block's number in the grid, and its coordinates.
    pub block: u32,
    #[allow(missing_docs)]
    pub index: [u32; 3],
    /// The block's shared memory and clocks.
    pub shared: Shared,
    #[allow(missing_docs)]
    pub clocks: Clocks,
    /// For each memory instruction: the region it last accessed.
    pub cache: Vec<u32>,
    /// Counts of each instruction.
    pub counts: Vec<InstCount>,
    /// Grows whenever memory changes or a warp makes progress.
    pub progress: u64,
    /// Instruction being run.
    pub pc: u32,
    /// Barriers that opened.
    pub barriers: u64,
}

#[derive(Default)]
struct BarrierState {
    /// The warps that have arrived: clocks, threads, votes.
    arrivals: Vec<Arrival>,
    threads: u32,
    votes: Vec<(usize, Barrier, u32)>,
    waiting: Vec<usize>,
    expected: Option<u32>,
    pc: u32,
}

/// A block that is being run.
pub struct Block<'a> {
    env: Env<'a>,
    warps: Vec<Warp>,
    barriers: Vec<BarrierState>,
    seed: u64,
}

/// Result of a round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Round {
    /// Every warp has exited.
    Done,
    /// There was progress.
    Moved,
    /// All warps wait, and nothing changed.
    Stuck,
}

impl<'a> Block<'a> {
    /// A block that has not been started.
    pub fn new(launch: &'a Prepared<'a>) -> Self {
        let env = Env {
            launch,
            block: 0,
            index: [0; 3],
            shared: Shared::default(),
            clocks: Clocks::default(),
            cache: vec![0; launch.code.slots as usize],
            counts: vec![InstCount::default(); launch.code.insts.len()],
            progress: 0,
            pc: 0,
            barriers: 0,
        };
        let warps = (0..launch.threads.div_ceil(32) as usize).map(Warp::new).collect();
        Block { env, warps, barriers: Vec::new(), seed: launch.options.seed | 1 }
    }

    /// Starts block `number` of the grid.
    pub fn start(&mut self, number: u32) {
        let launch = self.env.launch;
        let [gx, gy, _] = launch.grid;
        self.env.block = number;
        self.env.index = [number % gx, number / gx % gy, number / gx / gy];
        let bytes = launch.code.shared_bytes + launch.dynamic_shared;
        self.env.shared.reset(bytes as usize, launch.races.is_some(), &launch.code.shared_names);
        self.env.clocks.reset(self.warps.len());
        self.barriers.clear();
        self.barriers.resize_with(16, BarrierState::default);
        self.seed = self.seed.wrapping_add(number as u64 * 2);
        let code = launch.code;
        for w in &mut self.warps {
            let threads = launch.threads - 32 * w.index as u32;
            let live = if threads >= 32 { u32::MAX } else { (1 << threads) - 1 };
            w.reset(code.registers, code.predicates, code.local_bytes, live);
            for (special, r) in &code.specials {
                for lane in 0..32u32 {
                    w.registers[*r as usize][lane as usize] =
                        launch.special(*special, w.index as u32, lane, self.env.index, bytes);
                }
            }
        }
    }

    /// What was counted since the block was made.
    pub fn counts(self) -> (Vec<InstCount>, u64) {
        (self.env.counts, self.env.barriers)
    }

    /// Memory changes and steps forward so far.
    pub fn progress(&self) -> u64 {
        self.env.progress
    }

    /// Runs every warp that can run once, until it waits or yields.
    pub fn round(&mut self) -> Result<Round, Box<Fault>> {
        let before = self.env.progress;
        let mut order: Vec<usize> = (0..self.warps.len()).collect();
        match self.env.launch.options.order {
            Order::Forward => {}
            Order::Reverse => order.reverse(),
            Order::Random => {
                for i in (1..order.len()).rev() {
                    order.swap(i, (self.random() % (i as u64 + 1)) as usize);
                }
            }
        }
        for i in order {
            while self.warps[i].state == State::Ready {
                let stop = exec::run(&mut self.warps[i], &mut self.env);
                let stop = stop.and_then(|s| self.stopped(i, s)).map_err(|t| self.fault(i, *t))?;
                if stop {
                    break;
                }
            }
        }
        let done = self.warps.iter().all(|w| w.state == State::Done);
        if done && self.env.shared.uninitialised.is_some() {
            return Err(self.deadlock());
        }
        if done {
            return Ok(Round::Done);
        }
        Ok(if self.env.progress == before { Round::Stuck } else { Round::Moved })
    }

    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed >> 8
    }

    /// Handles a warp that stopped; true if its turn is over.
    fn stopped(&mut self, w: usize, stop: Stop) -> Run<bool> {
        match stop {
            Stop::Yield => return Ok(true),
            Stop::Done => {
                self.env.progress += 1;
                for id in 0..16 {
                    self.open_if_full(id)?;
                }
            }
            Stop::Barrier { kind, id, count, pc } => {
                self.env.progress += 1;
                self.arrive(w, kind, id, count, pc)?;
            }
        }
        Ok(self.warps[w].state != State::Ready)
    }

    fn arrive(&mut self, w: usize, kind: Barrier, id: u32, count: Option<u32>, pc: u32) -> Run<()> {
        let warp = &mut self.warps[w];
        let lane = warp.live.trailing_zeros();
        let trouble = |detail: String| Err(Trouble::new(FaultKind::DivergentBarrier, lane, detail));
        let Some(b) = self.barriers.get_mut(id as usize) else {
            return trouble(format!("barrier {id}; there are 16"));
        };
        if count.is_some_and(|c| c == 0 || c % 32 != 0) {
            return trouble(format!("barrier {id} for {} threads, which is no multiple of 32", count.unwrap_or(0)));
        }
        if !b.arrivals.is_empty() && b.expected != count {
            return trouble(format!("barrier {id} is waited for by {:?} threads and by {count:?}", b.expected));
        }
        b.expected = count;
        b.pc = pc;
        b.arrivals.push(self.env.clocks.arrive(w));
        // With a count, whole warps are counted; without, the threads that have not exited.
        b.threads += if count.is_some() { 32 } else { warp.live.count_ones() };
        if count.is_some_and(|c| b.threads > c) {
            return trouble(format!("barrier {id} is for {} threads, {} came", count.unwrap_or(0), b.threads));
        }
        let waits = match kind {
            Barrier::Sync => true,
            Barrier::Arrive => false,
            Barrier::Count { pred, .. } | Barrier::Reduce { pred, .. } => {
                let votes = warp.pred(pred) & warp.live;
                b.votes.push((w, kind, votes));
                true
            }
        };
        if waits {
            b.waiting.push(w);
            warp.state = State::Waiting(id);
        }
        self.open_if_full(id as usize)
    }

    /// Opens a barrier that all warps have reached.
    fn open_if_full(&mut self, id: usize) -> Run<()> {
        let live: u32 = self.warps.iter().map(|w| w.live.count_ones()).sum();
        let b = &mut self.barriers[id];
        if b.arrivals.is_empty() || b.threads < b.expected.unwrap_or(live) {
            return Ok(());
        }
        let b = std::mem::take(b);
        if self.env.shared.uninitialised.is_some() {
            // Nothing has been written there so far, so no race explains it. (`fault` fills in the read.)
            return Err(Trouble::new(FaultKind::SharedUninitialised, 0, ""));
        }
        self.env.clocks.open(&b.arrivals, &b.waiting);
        self.env.progress += 1;
        self.env.barriers += 1;
        let total: u32 = b.votes.iter().map(|v| v.2.count_ones()).sum();
        let all = total == b.threads;
        for (w, kind, _) in b.votes {
            let warp = &mut self.warps[w];
            let live = warp.live;
            match kind {
                Barrier::Count { into, .. } => warp.set(into, live, &[total as u64; 32]),
                Barrier::Reduce { into, any, .. } => {
                    let yes = if any { total > 0 } else { all };
                    warp.set_pred(into, live, if yes { u32::MAX } else { 0 });
                }
                _ => {}
            }
        }
        for w in b.waiting {
            self.warps[w].state = State::Ready;
        }
        Ok(())
    }

    /// A fault with its location. An earlier read of uninitialised bytes is reported instead, unless a race explains
    /// both.
    fn fault(&mut self, warp: usize, t: Trouble) -> Box<Fault> {
        let (warp, t) = match self.env.shared.uninitialised.take() {
            Some((warp, pc, first)) if t.kind != FaultKind::SharedRace => {
                self.env.pc = pc;
                (warp, first)
            }
            _ => (warp, t),
        };
        let lane = t.lane.unwrap_or(0).min(31);
        let thread = self.env.launch.thread(32 * warp as u32 + lane);
        Box::new(self.env.launch.fault(t.kind, self.env.pc, Some((self.env.index, thread)), t.detail))
    }

    /// The fault of a block that can make no more progress.
    pub fn deadlock(&mut self) -> Box<Fault> {
        if let Some((warp, pc, t)) = self.env.shared.uninitialised.take() {
            self.env.pc = pc;
            return self.fault(warp, t);
        }
        let launch = self.env.launch;
        let line = |pc: u32| launch.code.insts[pc as usize].line;
        let mut parts = Vec::new();
        let mut pc = None;
        let mut at_barriers = 0;
        for w in &self.warps {
            let where_ = match w.state {
                State::Done => continue,
                State::Waiting(id) => {
                    let b = &self.barriers[id as usize];
                    pc = pc.or(Some((w.index, b.pc)));
                    at_barriers += 1;
                    let of = b.expected.map_or(String::new(), |n| format!(", {} of {n} threads came", b.threads));
                    format!("warp {} waits at barrier {id} (PTX line {}{of})", w.index, line(b.pc))
                }
                State::Ready => {
                    let at = w.groups.first().map_or(0, |g| g.pc);
                    if pc.is_none_or(|_| at_barriers > 0) {
                        pc = Some((w.index, at));
                    }
                    format!("warp {} spins at PTX line {}", w.index, line(at))
                }
            };
            if parts.len() < 6 {
                parts.push(where_);
            }
        }
        let (warp, pc) = pc.unwrap_or((0, 0));
        let thread = launch.thread(32 * warp as u32);
        let detail = format!("nothing moves any more: {}", parts.join("; "));
        Box::new(launch.fault(FaultKind::Deadlock, pc, Some((self.env.index, thread)), detail))
    }
}

impl Prepared<'_> {
    /// A thread's coordinates in its block.
    pub fn thread(&self, linear: u32) -> [u32; 3] {
        let [x, y, _] = self.block;
        [linear % x, linear / x % y, linear / x / y]
    }

    fn special(&self, s: Special, warp: u32, lane: u32, index: [u32; 3], shared: u32) -> u64 {
        let thread = self.thread((32 * warp + lane).min(self.threads - 1));
        let bit = 1u64 << lane;
        (match s {
            Special::Tid(a) => thread[a],
            Special::Ntid(a) => self.block[a],
            Special::Ctaid(a) => index[a],
            Special::Nctaid(a) => self.grid[a],
            Special::Lane => lane,
            Special::Warp => warp,
            Special::Warps => self.threads.div_ceil(32),
            Special::Sm => (index[0] + index[1] * self.grid[0]) % self.options.multiprocessors,
            Special::Sms => self.options.multiprocessors,
            Special::Grid => 1,
            Special::MaskEq => return bit,
            Special::MaskLt => return bit - 1,
            Special::MaskLe => return bit * 2 - 1,
            Special::MaskGt => return !(bit * 2 - 1) & 0xffff_ffff,
            Special::MaskGe => return !(bit - 1) & 0xffff_ffff,
            Special::DynamicShared => self.dynamic_shared,
            Special::TotalShared => shared,
        }) as u64
    }
}
