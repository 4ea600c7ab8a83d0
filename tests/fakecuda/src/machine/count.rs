//! Counts for a roofline, by kernel and by PTX line, as a table and as JSON.

use std::fmt::Write;

/// Totals of one instruction.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct InstCount {
    /// Times a warp ran it, and the lanes that ran it.
    pub warps: u64,
    #[allow(missing_docs)]
    pub lanes: u64,
    /// Bytes of global memory accessed, and the 32-byte sectors that they are in.
    pub global_bytes: u64,
    #[allow(missing_docs)]
    pub sectors: u64,
    /// Sectors if the same distinct bytes were contiguous.
    pub ideal_sectors: u64,
    /// Passes through shared memory, and their number without bank conflicts.
    pub waves: u64,
    #[allow(missing_docs)]
    pub ideal_waves: u64,
}

impl InstCount {
    fn add(&mut self, o: &InstCount) {
        self.warps += o.warps;
        self.lanes += o.lanes;
        self.global_bytes += o.global_bytes;
        self.sectors += o.sectors;
        self.ideal_sectors += o.ideal_sectors;
        self.waves += o.waves;
        self.ideal_waves += o.ideal_waves;
    }
}

/// Totals of one kernel over all its launches.
#[derive(Clone, Default, Debug)]
pub struct Counts {
    /// The kernel.
    pub kernel: String,
    /// Launches and blocks run.
    pub launches: u64,
    #[allow(missing_docs)]
    pub blocks: u64,
    /// Barriers that opened.
    pub barriers: u64,
    /// Distinct sectors that launches read and wrote, summed over launches (option `touched`; else 0).
    pub read: u64,
    #[allow(missing_docs)]
    pub written: u64,
    /// Sums over all instructions.
    pub total: InstCount,
    /// Per instruction: PTX line, source line, totals.
    pub lines: Vec<(u32, u32, InstCount)>,
}

impl Counts {
    /// Adds a launch.
    pub fn add(&mut self, o: &Counts) {
        self.kernel.clone_from(&o.kernel);
        self.launches += o.launches;
        self.blocks += o.blocks;
        self.barriers += o.barriers;
        self.read += o.read;
        self.written += o.written;
        self.total.add(&o.total);
        if self.lines.len() != o.lines.len() {
            self.lines.clone_from(&o.lines);
            return;
        }
        for (a, b) in self.lines.iter_mut().zip(&o.lines) {
            a.2.add(&b.2);
        }
    }

    /// Fills `total` from `lines`.
    pub fn sum(&mut self) {
        self.total = InstCount::default();
        for (_, _, c) in &self.lines {
            self.total.add(c);
        }
    }
}

fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 1.0 } else { a as f64 / b as f64 }
}

/// A table, one kernel a line, and below each the lines that waste sectors or wavefronts.
pub fn table(all: &[Counts]) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<24} {:>8} {:>8} {:>12} {:>6} {:>14} {:>12} {:>7} {:>12} {:>7} {:>9}",
        "kernel",
        "launches",
        "blocks",
        "warp insts",
        "lanes",
        "global bytes",
        "sectors",
        "/ideal",
        "shared waves",
        "/ideal",
        "barriers"
    );
    for c in all {
        let t = &c.total;
        let _ = writeln!(
            out,
            "{:<24} {:>8} {:>8} {:>12} {:>6.1} {:>14} {:>12} {:>7.2} {:>12} {:>7.2} {:>9}",
            c.kernel,
            c.launches,
            c.blocks,
            t.warps,
            ratio(t.lanes, t.warps.max(1)),
            t.global_bytes,
            t.sectors,
            ratio(t.sectors, t.ideal_sectors),
            t.waves,
            ratio(t.waves, t.ideal_waves),
            c.barriers
        );
        for (line, source, i) in &c.lines {
            if i.sectors > i.ideal_sectors || i.waves > i.ideal_waves {
                let _ = writeln!(
                    out,
                    "    PTX line {line} (source line {source}): {} runs, sectors {:.2} x ideal, wavefronts {:.2} x ideal",
                    i.warps,
                    ratio(i.sectors, i.ideal_sectors),
                    ratio(i.waves, i.ideal_waves)
                );
            }
        }
    }
    out
}

/// The same as JSON: `[{"kernel": ..., "warp_instructions": ...}, ...]`.
pub fn json(all: &[Counts]) -> String {
    let one = |c: &Counts| {
        let fields = |i: &InstCount| {
            format!(
                "\"warp_instructions\":{},\"thread_instructions\":{},\"global_bytes\":{},\"sectors\":{},\"ideal_sectors\":{},\
                 \"shared_wavefronts\":{},\"ideal_shared_wavefronts\":{}",
                i.warps, i.lanes, i.global_bytes, i.sectors, i.ideal_sectors, i.waves, i.ideal_waves
            )
        };
        let lines: Vec<String> = c
            .lines
            .iter()
            .filter(|l| l.2.sectors + l.2.waves > 0)
            .map(|(line, source, i)| format!("{{\"ptx_line\":{line},\"source_line\":{source},{}}}", fields(i)))
            .collect();
        format!(
            "{{\"kernel\":\"{}\",\"launches\":{},\"blocks\":{},\"barriers\":{},\"read_sectors\":{},\"written_sectors\":{},{},\"memory_lines\":[{}]}}",
            c.kernel.replace(['"', '\\'], "?"),
            c.launches,
            c.blocks,
            c.barriers,
            c.read,
            c.written,
            fields(&c.total),
            lines.join(",")
        )
    };
    format!("[{}]", all.iter().map(one).collect::<Vec<_>>().join(","))
}

/// Sectors of these accesses, and the fewest for as many distinct bytes.
pub fn sectors(addresses: &V32, mask: u32, bytes: u32) -> (u64, u64) {
    let (mut list, mut n) = ([0u64; 32], 0);
    let mut sorted = true;
    for (i, a) in addresses.iter().enumerate() {
        if mask >> i & 1 == 1 {
            sorted &= n == 0 || list[n - 1] <= *a;
            list[n] = *a;
            n += 1;
        }
    }
    let list = &mut list[..n];
    if !sorted {
        list.sort_unstable();
    }
    let (mut count, mut distinct, mut last_sector, mut last) = (0, 0u64, u64::MAX, u64::MAX);
    for &a in list.iter() {
        if a == last {
            continue;
        }
        last = a;
        distinct += 1;
        for s in a / 32..=(a + bytes as u64 - 1) / 32 {
            if s != last_sector {
                count += 1;
                last_sector = s;
            }
        }
    }
    (count, (distinct * bytes as u64).div_ceil(32))
}

type V32 = [u64; 32];

/// Passes through shared memory for these accesses, and their number without bank conflicts.
/// 32 banks of four bytes; 8-byte accesses go by half warps, 16-byte ones by quarters.
pub fn waves(addresses: &V32, mask: u32, bytes: u32) -> (u64, u64) {
    let lanes = match bytes {
        0..=4 => 32,
        8 => 16,
        _ => 8,
    };
    let place = addresses[mask.trailing_zeros() as usize % 32];
    if (0..32).all(|i| mask >> i & 1 == 0 || addresses[i] == place) {
        let phases = (0..32 / lanes).filter(|phase| mask >> (phase * lanes) << (32 - lanes) != 0).count() as u64;
        return (phases, phases);
    }
    let (mut waves, mut ideal) = (0, 0);
    for phase in 0..32 / lanes {
        let mut words: [u64; 32] = [u64::MAX; 32];
        let mut n = 0;
        for (i, address) in addresses.iter().enumerate().skip(phase * lanes).take(lanes) {
            if mask >> i & 1 == 1 {
                for w in 0..bytes.div_ceil(4) as u64 {
                    words[n] = address / 4 + w;
                    n += 1;
                }
            }
        }
        if n == 0 {
            continue;
        }
        ideal += 1;
        let words = &mut words[..n];
        if !words.windows(2).all(|w| w[0] < w[1]) {
            words.sort_unstable();
        }
        let mut per_bank = [0u8; 32];
        let mut last = u64::MAX;
        for &w in words.iter() {
            if w != last {
                per_bank[w as usize % 32] += 1;
            }
            last = w;
        }
        waves += per_bank.iter().copied().max().unwrap_or(1) as u64;
    }
    (waves, ideal)
}
