//! Device memory: allocations at artificial addresses that are never reused, each with a host buffer behind it.
//! Blocks on several threads read and write it at the same time, so every access is a relaxed atomic on the host.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

/// First device address, above every possible host pointer, so that the two can't be confused.
pub const DEVICE_BASE: u64 = 0xB000_0000_0000;
/// Host pointers are below this.
pub const HOST_END: u64 = 0x8000_0000_0000;

/// What an allocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `cuMemAlloc`.
    Device,
    /// `cuMemHostAlloc`: its device address is its host address.
    Pinned,
    /// `cuMemAllocManaged`: as pinned.
    Managed,
    /// A variable of a module.
    Variable,
}

struct Backing {
    pointer: *mut u8,
    layout: Layout,
}

// SAFETY: the buffer is only reached through the atomic accesses of `Region` and is freed once, by the last owner.
unsafe impl Send for Backing {}
// SAFETY: as above.
unsafe impl Sync for Backing {}

impl Drop for Backing {
    fn drop(&mut self) {
        // SAFETY: allocated in `Memory::new_region` with this layout.
        unsafe { dealloc(self.pointer, self.layout) }
    }
}

/// One live allocation. Clones share the buffer, which stays alive while any is held.
#[derive(Clone)]
pub struct Region {
    /// First device address.
    pub base: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// What it is.
    pub kind: Kind,
    backing: Arc<Backing>,
}

impl Region {
    /// Whether `bytes` at `address` lie inside.
    #[inline(always)]
    pub fn holds(&self, address: u64, bytes: u64) -> bool {
        address >= self.base && address - self.base <= self.bytes && bytes <= self.bytes - (address - self.base)
    }

    #[inline(always)]
    fn pointer(&self, address: u64, bytes: u64) -> *mut u8 {
        assert!(self.holds(address, bytes) && address.is_multiple_of(bytes.max(1)));
        // SAFETY: inside the buffer, as just checked; `base` and buffer are both aligned to 256 bytes.
        unsafe { self.backing.pointer.add((address - self.base) as usize) }
    }

    /// Loads 1, 2, 4 or 8 bytes. The address must be inside and aligned.
    #[inline(always)]
    pub fn load(&self, address: u64, bytes: u32) -> u64 {
        let p = self.pointer(address, bytes as u64);
        // SAFETY: `pointer` checked bounds and alignment; all accesses to the buffer while it is shared are atomic.
        unsafe {
            match bytes {
                1 => AtomicU8::from_ptr(p).load(Relaxed) as u64,
                2 => AtomicU16::from_ptr(p.cast()).load(Relaxed) as u64,
                4 => AtomicU32::from_ptr(p.cast()).load(Relaxed) as u64,
                _ => AtomicU64::from_ptr(p.cast()).load(Relaxed),
            }
        }
    }

    /// Stores 1, 2, 4 or 8 bytes; true if that changed them.
    #[inline(always)]
    pub fn store(&self, address: u64, bytes: u32, value: u64) -> bool {
        let p = self.pointer(address, bytes as u64);
        // SAFETY: as in `load`.
        unsafe {
            match bytes {
                1 => AtomicU8::from_ptr(p).swap(value as u8, Relaxed) != value as u8,
                2 => AtomicU16::from_ptr(p.cast()).swap(value as u16, Relaxed) != value as u16,
                4 => {
                    let a = AtomicU32::from_ptr(p.cast());
                    let old = a.load(Relaxed);
                    a.store(value as u32, Relaxed);
                    old != value as u32
                }
                _ => {
                    let a = AtomicU64::from_ptr(p.cast());
                    let old = a.load(Relaxed);
                    a.store(value, Relaxed);
                    old != value
                }
            }
        }
    }

    /// Replaces 2, 4 or 8 bytes by `f` of them, atomically; returns the old value.
    pub fn update(&self, address: u64, bytes: u32, f: impl Fn(u64) -> u64) -> u64 {
        let p = self.pointer(address, bytes as u64);
        // SAFETY: as in `load`.
        unsafe {
            match bytes {
                2 => AtomicU16::from_ptr(p.cast())
                    .fetch_update(Relaxed, Relaxed, |v| Some(f(v as u64) as u16))
                    .map_or(0, u64::from),
                4 => AtomicU32::from_ptr(p.cast())
                    .fetch_update(Relaxed, Relaxed, |v| Some(f(v as u64) as u32))
                    .map_or(0, u64::from),
                _ => AtomicU64::from_ptr(p.cast()).fetch_update(Relaxed, Relaxed, |v| Some(f(v))).unwrap_or(0),
            }
        }
    }

    /// Copies bytes in. The range must lie inside.
    pub fn write(&self, address: u64, data: &[u8]) {
        assert!(self.holds(address, data.len() as u64));
        let p = self.backing.pointer.wrapping_add((address - self.base) as usize);
        // SAFETY: inside the buffer; copies run between launches, when no kernel thread runs.
        unsafe { std::ptr::copy(data.as_ptr(), p, data.len()) }
    }

    /// Copies bytes out. The range must lie inside.
    pub fn read(&self, address: u64, bytes: usize) -> Vec<u8> {
        assert!(self.holds(address, bytes as u64));
        let mut out = vec![0; bytes];
        let p = self.backing.pointer.wrapping_add((address - self.base) as usize);
        // SAFETY: as in `write`.
        unsafe { std::ptr::copy(p, out.as_mut_ptr(), bytes) };
        out
    }
}

/// All allocations of a device.
pub struct Memory {
    regions: BTreeMap<u64, Region>,
    /// Freed allocations, for reports: base to size.
    freed: BTreeMap<u64, u64>,
    next: u64,
    used: u64,
    /// Size of the device's memory in bytes.
    pub total: u64,
}

impl Memory {
    /// An empty device memory of this size.
    pub fn new(total: u64) -> Self {
        Memory { regions: BTreeMap::new(), freed: BTreeMap::new(), next: DEVICE_BASE, used: 0, total }
    }

    /// Moves the next address on by `n` spans of 64 GiB (of the 256 there are).
    pub fn skip(&mut self, n: u64) {
        self.next += (n % 256) << 36;
    }

    /// Allocates; fresh memory is all ones (NaN), so that its use shows. None if it does not fit.
    pub fn alloc(&mut self, bytes: u64, kind: Kind) -> Option<u64> {
        if bytes > self.total - self.used {
            return None;
        }
        // Whole pages: pinned memory is protected from the host page by page.
        let layout = Layout::from_size_align((bytes as usize).max(1).checked_next_multiple_of(4096)?, 4096).ok()?;
        // SAFETY: the layout's size is not zero.
        let pointer = unsafe { alloc_zeroed(layout) };
        if pointer.is_null() {
            return None;
        }
        let backing = Arc::new(Backing { pointer, layout });
        let base = match kind {
            Kind::Pinned | Kind::Managed => pointer as u64,
            Kind::Device | Kind::Variable => {
                let base = self.next;
                // A gap of at least 4 KB, so that one past the end is in no allocation.
                self.next += (bytes + 4096).next_multiple_of(4096);
                base
            }
        };
        if kind == Kind::Device {
            // SAFETY: `layout.size()` bytes were just allocated, and nothing else uses them yet.
            unsafe { std::ptr::write_bytes(pointer, 0xff, layout.size()) };
        }
        self.freed.remove(&base);
        self.used += bytes;
        self.regions.insert(base, Region { base, bytes, kind, backing });
        Some(base)
    }

    /// Frees the allocation at `base`; false if there is none.
    pub fn free(&mut self, base: u64) -> bool {
        match self.regions.remove(&base) {
            Some(r) => {
                self.used -= r.bytes;
                self.freed.insert(base, r.bytes);
                true
            }
            None => false,
        }
    }

    /// Bytes not yet allocated.
    pub fn left(&self) -> u64 {
        self.total - self.used
    }

    /// The allocation that holds this range.
    pub fn find(&self, address: u64, bytes: u64) -> Option<&Region> {
        self.regions.range(..=address).next_back().map(|(_, r)| r).filter(|r| r.holds(address, bytes))
    }

    /// The allocations as they are now, by address.
    pub fn regions(&self) -> Vec<Region> {
        self.regions.values().cloned().collect()
    }

    /// Describes what is at or near an address, for reports.
    pub fn describe(&self, address: u64) -> String {
        describe(&self.regions(), &self.freed, address)
    }

    /// Freed allocations: base to size.
    pub fn freed(&self) -> &BTreeMap<u64, u64> {
        &self.freed
    }
}

/// Describes what is at or near an address.
pub fn describe(regions: &[Region], freed: &BTreeMap<u64, u64>, address: u64) -> String {
    if address < 4096 {
        return format!("address {address:#x} is null or nearly so");
    }
    let i = regions.partition_point(|r| r.base <= address);
    let inside = i.checked_sub(1).is_some_and(|i| address - regions[i].base < regions[i].bytes);
    if let Some((base, bytes)) = freed.range(..=address).next_back().filter(|(b, n)| !inside && address - **b < **n) {
        return format!("address {address:#x} is byte {} of {bytes} bytes at {base:#x} that were freed", address - base);
    }
    if let Some(r) = i.checked_sub(1).map(|i| &regions[i]) {
        let past = address - r.base;
        if past < r.bytes {
            return format!("address {address:#x} is byte {past} of the {} bytes at {:#x}", r.bytes, r.base);
        }
        if past - r.bytes < 4096 || r.kind != Kind::Pinned && past - r.bytes < 1 << 20 {
            return format!(
                "address {address:#x} is {} bytes past the end of the {} bytes at {:#x}",
                past - r.bytes,
                r.bytes,
                r.base
            );
        }
    }
    if address < HOST_END {
        return format!("address {address:#x} is a host pointer (not allocated with cuMemHostAlloc)");
    }
    if let Some(r) = regions.get(i) {
        return format!("address {address:#x} is {} bytes before the {} bytes at {:#x}", r.base - address, r.bytes, r.base);
    }
    format!("address {address:#x} belongs to no allocation")
}
