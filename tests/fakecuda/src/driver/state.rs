//! The driver's state, behind one lock.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};

use super::capture::Capture;
use super::code::{self, Code};
use super::config::Config;
use super::guard;
use super::queue::{Event, Stream, Work};
use crate::device::{Device, Loaded};
use crate::machine::{Fault, FaultKind};
use crate::program::Code as Kernel;

/// A function handle: the kernel and its attributes.
pub struct Function {
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`.
    pub dynamic_shared: u32,
    /// The module it came from.
    pub module: u64,
}

/// The driver.
pub struct State {
    /// The test's options.
    pub config: Config,
    /// The device.
    pub device: Device,
    /// Set by `cuInit`.
    pub ready: bool,
    /// The error of a faulty kernel, which every later call returns.
    pub sticky: Option<Code>,
    /// Faults found so far.
    pub faults: Vec<Fault>,
    next: u64,
    #[allow(missing_docs)]
    pub streams: HashMap<u64, Stream>,
    #[allow(missing_docs)]
    pub events: HashMap<u64, Event>,
    #[allow(missing_docs)]
    pub modules: HashMap<u64, Loaded>,
    #[allow(missing_docs)]
    pub functions: HashMap<u64, Function>,
    /// Graphs and executable graphs: their work, in an order that keeps their dependencies.
    pub graphs: HashMap<u64, Arc<Vec<Work>>>,
    #[allow(missing_docs)]
    pub execs: HashMap<u64, Arc<Vec<Work>>>,
    /// Captures in progress.
    pub captures: HashMap<u64, Capture>,
    /// Devices whose primary context is retained, and contexts alive.
    pub contexts: HashSet<u64>,
}

/// The one context's handle.
pub const CONTEXT: u64 = 0x10;

impl State {
    /// A new driver with these options.
    pub fn new(config: Config) -> Self {
        // Handles and addresses of an earlier driver of this process must be invalid in this one.
        static DRIVERS: AtomicU64 = AtomicU64::new(0);
        let number = DRIVERS.fetch_add(1, SeqCst);
        let mut device = Device::new(config.sm, config.options.clone());
        device.memory.skip(number);
        let mut streams = HashMap::new();
        streams.insert(0, Stream::default());
        State {
            config,
            device,
            ready: false,
            sticky: None,
            faults: Vec::new(),
            next: 0x1000 + (number << 32),
            streams,
            events: HashMap::new(),
            modules: HashMap::new(),
            functions: HashMap::new(),
            graphs: HashMap::new(),
            execs: HashMap::new(),
            captures: HashMap::new(),
            contexts: HashSet::new(),
        }
    }

    /// A new handle.
    pub fn handle(&mut self) -> u64 {
        self.next += 0x10;
        self.next
    }

    /// Notes a fault and prints it.
    pub fn note(&mut self, fault: Fault) {
        eprintln!("fakecuda: {fault}");
        self.faults.push(fault);
    }

    /// Notes a fault of the host and returns its code.
    pub fn refuse<T>(&mut self, kind: FaultKind, detail: String, code: Code) -> Result<T, Code> {
        self.note(Fault::host(kind, detail));
        Err(code)
    }

    /// Notes accesses to pinned memory that came too early.
    pub fn collect_touches(&mut self) {
        for address in guard::touched() {
            let what = self.device.memory.describe(address);
            let detail = format!("the host touched pinned memory that a queued copy has yet to write: {what}; synchronise first");
            self.note(Fault::host(FaultKind::ReadBeforeSynchronise, detail));
        }
    }
}

static STATE: OnceLock<Mutex<State>> = OnceLock::new();

/// The driver, made from the environment at first use.
pub fn state() -> &'static Mutex<State> {
    STATE.get_or_init(|| {
        let mut config = Config::default();
        if let Err(e) = config.apply(&std::env::var("FAKECUDA").unwrap_or_default()) {
            eprintln!("fakecuda: FAKECUDA: {e}");
        }
        Mutex::new(State::new(config))
    })
}

/// Runs an API call under the lock. Returns the sticky error first, and lets no panic out into C.
pub fn call(f: impl FnOnce(&mut State) -> Result<(), Code>) -> Code {
    let run = || {
        let mut state = state().lock().unwrap_or_else(|e| e.into_inner());
        state.collect_touches();
        if !state.ready {
            return code::NOT_INITIALIZED;
        }
        if let Some(code) = state.sticky {
            return code;
        }
        match f(&mut state) {
            Ok(()) => state.sticky.unwrap_or(code::SUCCESS),
            Err(code) => code,
        }
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(code::UNKNOWN)
}

/// The same for calls that only release or query: without the sticky error.
pub fn quiet(f: impl FnOnce(&mut State) -> Result<(), Code>) -> Code {
    let run = || {
        let mut state = state().lock().unwrap_or_else(|e| e.into_inner());
        state.collect_touches();
        f(&mut state).err().unwrap_or(code::SUCCESS)
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(code::UNKNOWN)
}
