//! A device: memory, modules and launches, without streams. The driver API is built on it; tests may use it directly.

use std::collections::HashMap;
use std::sync::Arc;

use crate::machine::{Counts, Fault, FaultKind, Launch, Options, grid};
use crate::memory::{Kind, Memory};
use crate::program::{Code, decode::decode};
use crate::ptx::{self, LoadError, Space};

/// Limits of the device, by compute capability.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// 80 for sm_80.
    pub sm: u32,
    /// Shared memory a block has by default, static and dynamic together.
    pub shared_default: u32,
    /// Shared memory a block may opt in to.
    pub shared_optin: u32,
    /// Shared memory of a multiprocessor.
    pub shared_multiprocessor: u32,
    /// Threads resident on a multiprocessor.
    pub threads: u32,
    /// Blocks resident on a multiprocessor.
    pub blocks: u32,
}

impl Limits {
    /// The limits of sm_75, 80, 86, 89, 90, 100, 120 (CUDA programming guide, table of technical specifications).
    pub fn of(sm: u32) -> Self {
        let (optin, multiprocessor, threads, blocks) = match sm {
            ..80 => (64, 64, 1024, 16),
            80 | 87 => (163, 164, 2048, 32),
            86 | 89 => (99, 100, 1536, if sm == 86 { 16 } else { 24 }),
            90..120 => (227, 228, 2048, 32),
            _ => (99, 100, 1536, 24),
        };
        Limits {
            sm,
            shared_default: 48 << 10,
            shared_optin: optin << 10,
            shared_multiprocessor: multiprocessor << 10,
            threads,
            blocks,
        }
    }
}

/// A loaded module.
pub struct Loaded {
    /// Kernels by name.
    pub kernels: HashMap<String, Arc<Code>>,
    /// Variables: address and size.
    pub variables: HashMap<String, (u64, u64)>,
    /// Bytes of `.const` variables.
    pub constant_bytes: u64,
}

/// The device.
pub struct Device {
    /// Its memory.
    pub memory: Memory,
    /// Its limits.
    pub limits: Limits,
    /// How launches run.
    pub options: Options,
    /// Counts of each kernel so far.
    pub counts: Vec<Counts>,
}

impl Device {
    /// A device of this compute capability with 8 GiB.
    pub fn new(sm: u32, options: Options) -> Self {
        Device { memory: Memory::new(8 << 30), limits: Limits::of(sm), options, counts: Vec::new() }
    }

    /// Loads a PTX text: parses and decodes all of it, and allocates its variables.
    pub fn load(&mut self, text: &str) -> Result<Loaded, LoadError> {
        let module = ptx::parse(text)?;
        if module.target > self.limits.sm {
            let why = format!("the PTX is for sm_{}, the device is sm_{}", module.target, self.limits.sm);
            return Err(LoadError::at(1, ".target", &why));
        }
        let mut variables = HashMap::new();
        let mut constant_bytes = 0;
        for v in module.variables.iter().filter(|v| matches!(v.space, Space::Global | Space::Const)) {
            let fail = || LoadError::at(v.line, &v.name, "no memory for this variable");
            let address = self.memory.alloc(v.bytes, Kind::Variable).ok_or_else(fail)?;
            if let Some(r) = self.memory.find(address, v.bytes) {
                r.write(address, &v.init);
            }
            constant_bytes += if v.space == Space::Const { v.bytes } else { 0 };
            variables.insert(v.name.clone(), (address, v.bytes));
        }
        let addresses = variables.iter().map(|(n, v)| (n.clone(), v.0)).collect();
        let decoded: Result<HashMap<_, _>, LoadError> =
            module.kernels.iter().map(|k| Ok((k.name.clone(), Arc::new(decode(&module, k, &addresses)?)))).collect();
        match decoded {
            Ok(kernels) => Ok(Loaded { kernels, variables, constant_bytes }),
            Err(e) => {
                for (address, _) in variables.values() {
                    self.memory.free(*address);
                }
                Err(e)
            }
        }
    }

    /// Blocks of this kernel that are resident on one multiprocessor.
    pub fn occupancy(&self, code: &Code, threads: u32, dynamic_shared: u32) -> u32 {
        let shared = code.shared_bytes + dynamic_shared;
        if threads == 0 || threads > 1024 {
            return 0;
        }
        let by_threads = self.limits.threads / threads.next_multiple_of(32);
        let by_shared = self.limits.shared_multiprocessor.checked_div(shared + 1024).unwrap_or(u32::MAX);
        by_threads.min(by_shared).min(self.limits.blocks)
    }

    /// Refuses a launch beyond the limits. `optin` is the kernel's MAX_DYNAMIC_SHARED_SIZE attribute.
    pub fn check(&self, launch: &Launch, optin: u32) -> Result<(), Fault> {
        let code = launch.code;
        let fail = |detail: String| {
            let mut f = Fault::host(FaultKind::LaunchLimit, detail);
            f.kernel.clone_from(&code.name);
            Err(f)
        };
        let ([x, y, z], [gx, gy, gz]) = (launch.block, launch.grid);
        let threads = x as u64 * y as u64 * z as u64;
        if threads == 0 || gx as u64 * gy as u64 * gz as u64 == 0 {
            return fail("a grid or block of size 0".into());
        }
        if threads > 1024 || x > 1024 || y > 1024 || z > 64 {
            return fail(format!("a block of {x} x {y} x {z} threads; at most 1024, 1024 x 1024 x 64"));
        }
        if gx > i32::MAX as u32 || gy > 65535 || gz > 65535 {
            return fail(format!("a grid of {gx} x {gy} x {gz} blocks; at most 2147483647 x 65535 x 65535"));
        }
        if let Some(max) = code.max_threads.filter(|max| threads > *max || code.required && threads != *max) {
            return fail(format!("{threads} threads a block, the kernel is compiled for {max}"));
        }
        if launch.dynamic_shared > optin || code.shared_bytes + launch.dynamic_shared > self.limits.shared_optin {
            return fail(format!(
                "{} bytes of dynamic shared memory beside {} static: {} are allowed (raise \
                 CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES; the device has {})",
                launch.dynamic_shared, code.shared_bytes, optin, self.limits.shared_optin
            ));
        }
        if launch.cooperative {
            let fits = self.occupancy(code, threads as u32, launch.dynamic_shared) * self.options.multiprocessors;
            let blocks = gx as u64 * gy as u64 * gz as u64;
            if blocks > fits as u64 {
                return fail(format!("a cooperative launch of {blocks} blocks, {fits} fit on the device at once"));
            }
        }
        Ok(())
    }

    /// Pointer arguments must point into live memory (or be null, or one past the end).
    fn check_pointers(&self, launch: &Launch) -> Result<(), Fault> {
        for (i, p) in launch.code.params.iter().enumerate().filter(|(_, p)| p.pointer) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&launch.params[p.offset..p.offset + 8]);
            let value = u64::from_le_bytes(bytes);
            let known = value == 0 || self.memory.find(value, 0).is_some();
            if !known {
                let what = self.memory.describe(value);
                let mut f = Fault::host(FaultKind::BadArgument, format!("argument {i} ({}): {what}", p.name));
                f.kernel.clone_from(&launch.code.name);
                return Err(f);
            }
        }
        Ok(())
    }

    /// Runs a launch to its end.
    pub fn run(&mut self, launch: Launch) -> Result<(), Fault> {
        self.check_pointers(&launch)?;
        let (counts, result) = grid::run(launch, self.memory.regions(), self.memory.freed().clone(), &self.options);
        match self.counts.iter_mut().find(|c| c.kernel == counts.kernel) {
            Some(c) => c.add(&counts),
            None => self.counts.push(counts),
        }
        result.map_err(|f| *f)
    }
}

/// Arguments as a kernel's parameter block. Each must have its parameter's size.
pub fn pack(code: &Code, args: &[&[u8]]) -> Result<Vec<u8>, Fault> {
    let mut block = vec![0; code.param_bytes];
    let sizes = || code.params.iter().map(|p| p.bytes).collect::<Vec<_>>();
    if args.len() != code.params.len() || args.iter().zip(&code.params).any(|(a, p)| a.len() != p.bytes) {
        let given = args.iter().map(|a| a.len()).collect::<Vec<_>>();
        let detail = format!("arguments of {given:?} bytes, {} takes {:?}", code.name, sizes());
        return Err(Fault::host(FaultKind::BadArgument, detail));
    }
    for (a, p) in args.iter().zip(&code.params) {
        block[p.offset..p.offset + p.bytes].copy_from_slice(a);
    }
    Ok(block)
}
