//! One launch: its blocks on worker threads, in the chosen order, until all are done or one has a fault.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

use super::block::{Block, Round};
use super::count::{Counts, InstCount};
use super::fault::{Fault, FaultKind};
use super::race::{GlobalRaces, Published};
use super::touched::Touched;
use crate::memory::Region;
use crate::program::Code;
use crate::program::lane::V;

/// Order in which blocks, and warps within a block, run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Order {
    Forward,
    Reverse,
    Random,
}

/// Options of launches.
#[derive(Clone, Debug)]
pub struct Options {
    /// Order of blocks and warps.
    pub order: Order,
    /// Seed of the random order.
    pub seed: u64,
    /// Whether races are searched for.
    pub races: bool,
    /// Whether distinct sectors are counted.
    pub touched: bool,
    /// Worker threads.
    pub threads: usize,
    /// Instructions after which a warp counts as endless.
    pub max_steps: u64,
    /// Multiprocessors of the device.
    pub multiprocessors: u32,
}

impl Default for Options {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        Options {
            order: Order::Forward,
            seed: 1,
            races: true,
            touched: false,
            threads,
            max_steps: 2_000_000_000,
            multiprocessors: 16,
        }
    }
}

/// What to launch.
pub struct Launch<'a> {
    /// The kernel.
    pub code: &'a Code,
    /// Blocks of the grid, threads of a block.
    pub grid: [u32; 3],
    #[allow(missing_docs)]
    pub block: [u32; 3],
    /// Dynamic shared memory in bytes.
    pub dynamic_shared: u32,
    /// The parameter block, laid out as `Code::params` says.
    pub params: Vec<u8>,
    /// Whether all blocks are resident at once.
    pub cooperative: bool,
}

/// A launch with the state that its blocks share.
pub struct Prepared<'a> {
    #[allow(missing_docs)]
    pub code: &'a Code,
    #[allow(missing_docs)]
    pub grid: [u32; 3],
    #[allow(missing_docs)]
    pub block: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    #[allow(missing_docs)]
    pub dynamic_shared: u32,
    #[allow(missing_docs)]
    pub params: Vec<u8>,
    /// The kernel's constants, one copy a lane.
    pub constants: Vec<V>,
    /// Device memory during the launch, by address.
    pub regions: Vec<Region>,
    /// Freed allocations: base to size.
    pub freed: BTreeMap<u64, u64>,
    #[allow(missing_docs)]
    pub options: Options,
    /// The history of global memory, if races are searched for.
    pub races: Option<GlobalRaces>,
    /// The sectors accessed, if they are counted.
    pub touched: Option<Touched>,
    /// What strong writes to global memory have published.
    pub published: Mutex<HashMap<u64, Published>>,
}

impl Prepared<'_> {
    /// A fault in this kernel.
    pub fn fault(&self, kind: FaultKind, pc: u32, thread: Option<([u32; 3], [u32; 3])>, detail: String) -> Fault {
        let inst = &self.code.insts[pc as usize];
        let source = self.code.files.get(&inst.loc.0).map(|f| (f.trim_start_matches('/').to_string(), inst.loc.1));
        Fault { kind, kernel: self.code.name.clone(), line: inst.line, source, thread, detail }
    }
}

/// Rounds without progress after which a wait counts as never satisfied.
const PATIENCE: u32 = 500;

/// Runs a launch on these regions. After a fault, what was written before it stays.
pub fn run(
    launch: Launch,
    regions: Vec<Region>,
    freed: BTreeMap<u64, u64>,
    options: &Options,
) -> (Counts, Result<(), Box<Fault>>) {
    let code = launch.code;
    let blocks = launch.grid.iter().map(|g| *g as u64).product::<u64>();
    // A record has 20 bits for the block: beyond a million blocks, races are not searched for.
    let races = options.races && blocks <= 1 << 20;
    let prepared = Prepared {
        code,
        touched: options.touched.then(|| Touched::new(&regions)),
        grid: launch.grid,
        block: launch.block,
        threads: launch.block.iter().product(),
        dynamic_shared: launch.dynamic_shared,
        params: launch.params,
        constants: code.constants.iter().map(|c| [*c; 32]).collect(),
        regions,
        freed,
        options: options.clone(),
        races: races.then(GlobalRaces::default),
        published: Mutex::default(),
    };
    let mut counts = Counts { kernel: code.name.clone(), launches: 1, blocks, ..Counts::default() };
    if blocks > u32::MAX as u64 {
        let fault = prepared.fault(FaultKind::LaunchLimit, 0, None, format!("{blocks} blocks"));
        return (counts, Err(Box::new(fault)));
    }
    let workers = options.threads.clamp(1, blocks.max(1) as usize);
    let shared = Work {
        next: AtomicU32::new(0),
        order: order(blocks as u32, options),
        stop: AtomicBool::new(false),
        fault: Mutex::new(None),
        progress: (0..workers).map(|_| AtomicU64::new(0)).collect(),
        idle: (0..workers).map(|_| Idle::default()).collect(),
    };
    let results: Vec<(Vec<InstCount>, u64)> = if workers == 1 {
        vec![work(&prepared, &shared, 0, launch.cooperative)]
    } else {
        std::thread::scope(|s| {
            let (prepared, shared, together) = (&prepared, &shared, launch.cooperative);
            let handles: Vec<_> = (0..workers).map(|w| s.spawn(move || work(prepared, shared, w, together))).collect();
            handles.into_iter().filter_map(|h| h.join().ok()).collect()
        })
    };
    counts.lines = code.insts.iter().map(|i| (i.line, i.loc.1, InstCount::default())).collect();
    for (lines, barriers) in results {
        counts.barriers += barriers;
        let part = Counts { lines: counts.lines.iter().zip(lines).map(|(l, c)| (l.0, l.1, c)).collect(), ..Counts::default() };
        let kernel = counts.kernel.clone();
        counts.add(&part);
        counts.kernel = kernel;
    }
    counts.sum();
    (counts.read, counts.written) = prepared.touched.as_ref().map_or((0, 0), Touched::sectors);
    let fault = shared.fault.into_inner().unwrap_or_else(|e| e.into_inner());
    (counts, fault.map_or(Ok(()), Err))
}

/// State that the workers share.
struct Work {
    next: AtomicU32,
    order: Vec<u32>,
    stop: AtomicBool,
    fault: Mutex<Option<Box<Fault>>>,
    progress: Vec<AtomicU64>,
    idle: Vec<Idle>,
}

/// How long a worker has seen no progress.
#[derive(Default)]
struct Idle {
    /// The sum of all progress that it last saw, and the rounds since.
    seen: AtomicU64,
    rounds: AtomicU32,
    /// It has no block left.
    done: AtomicBool,
}

impl Work {
    fn take(&self) -> Option<u32> {
        let n = self.next.fetch_add(1, SeqCst);
        self.order.get(n as usize).copied()
    }

    fn fail(&self, fault: Box<Fault>) {
        self.stop.store(true, SeqCst);
        self.fault.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(fault);
    }

    /// A worker's round made no progress. True if no block can make progress any more: each worker has tried often enough
    /// since the last progress of any. (A worker that the host does not schedule has not tried.)
    fn hopeless(&self, worker: usize) -> bool {
        let now: u64 = self.progress.iter().map(|p| p.load(SeqCst)).sum();
        let mine = &self.idle[worker];
        if mine.seen.swap(now, SeqCst) != now {
            mine.rounds.store(0, SeqCst);
        }
        mine.rounds.fetch_add(1, SeqCst);
        self.idle.iter().all(|i| i.done.load(SeqCst) || i.seen.load(SeqCst) == now && i.rounds.load(SeqCst) > PATIENCE)
    }
}

fn order(blocks: u32, options: &Options) -> Vec<u32> {
    let mut list: Vec<u32> = (0..blocks).collect();
    match options.order {
        Order::Forward => {}
        Order::Reverse => list.reverse(),
        Order::Random => {
            let mut seed = options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            for i in (1..list.len()).rev() {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                list.swap(i, ((seed >> 11) % (i as u64 + 1)) as usize);
            }
        }
    }
    list
}

/// Runs blocks one after another; in a cooperative launch, this worker's blocks in turns.
fn work(prepared: &Prepared, shared: &Work, worker: usize, together: bool) -> (Vec<InstCount>, u64) {
    let mut counts = vec![InstCount::default(); prepared.code.insts.len()];
    let mut barriers = 0;
    let mut finish = |b: Block| {
        let (lines, n) = b.counts();
        barriers += n;
        let mut sum = Counts { lines: counts.iter().map(|c| (0, 0, *c)).collect(), ..Counts::default() };
        sum.add(&Counts { lines: lines.into_iter().map(|c| (0, 0, c)).collect(), ..Counts::default() });
        counts = sum.lines.into_iter().map(|l| l.2).collect();
    };
    if together {
        let mine = shared.order.iter().copied().skip(worker).step_by(shared.progress.len());
        let mut resident: Vec<Block> = mine
            .map(|n| {
                let mut b = Block::new(prepared);
                b.start(n);
                b
            })
            .collect();
        turns(&mut resident, shared, worker);
        resident.into_iter().for_each(&mut finish);
    } else {
        let mut one = vec![Block::new(prepared)];
        while let Some(n) = shared.take() {
            one[0].start(n);
            if !turns(&mut one, shared, worker) {
                break;
            }
        }
        one.into_iter().for_each(&mut finish);
    }
    shared.idle[worker].done.store(true, SeqCst);
    (counts, barriers)
}

/// Gives the blocks turns until all are done; false if the launch stops.
fn turns(blocks: &mut [Block], shared: &Work, worker: usize) -> bool {
    let mut open: Vec<usize> = (0..blocks.len()).collect();
    while !open.is_empty() {
        if shared.stop.load(SeqCst) {
            return false;
        }
        let mut moved = false;
        let mut failed = None;
        open.retain(|b| match blocks[*b].round() {
            Ok(Round::Done) => {
                moved = true;
                false
            }
            Ok(r) => {
                moved |= r == Round::Moved;
                true
            }
            Err(f) => {
                failed.get_or_insert(f);
                true
            }
        });
        if let Some(f) = failed {
            shared.fail(f);
            return false;
        }
        let progress: u64 = blocks.iter().map(Block::progress).sum();
        shared.progress[worker].store(progress, SeqCst);
        if moved {
            shared.idle[worker].rounds.store(0, SeqCst);
            continue;
        }
        if shared.hopeless(worker) {
            shared.fail(blocks[open[0]].deadlock());
            return false;
        }
        std::thread::yield_now();
    }
    true
}
