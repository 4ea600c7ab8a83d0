//! Time that the emulator takes for the matrices of a step of two layers of width 1536: 75 M weights in bf16.
//! `cargo run --release -p sideman-fakecuda --example step`

use std::time::Instant;

use sideman_fakecuda::device::{Device, pack};
use sideman_fakecuda::machine::{Launch, Options, count};
use sideman_fakecuda::memory::Kind;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for races in [true, false] {
        let mut device = Device::new(80, Options { races, ..Options::default() });
        let module = device.load(include_str!("../cu/ptx/gemv.sm_80.ptx"))?;
        let code = module.kernels["gemv_bf16"].clone();
        let mut put = |bytes: u64| device.memory.alloc(bytes, Kind::Device).ok_or("no memory");
        let (w, x, y) = (put(6144 * 1536 * 2)?, put(6144 * 4)?, put(6144 * 4)?);
        let start = Instant::now();
        // Per layer: eight square matrices (self and cross attention), one up, one down.
        for _ in 0..2 {
            for (rows, cols) in [(1536i32, 1536i32); 8].into_iter().chain([(6144, 1536), (1536, 6144)]) {
                let params = pack(
                    &code,
                    &[&y.to_le_bytes(), &w.to_le_bytes(), &x.to_le_bytes(), &rows.to_le_bytes(), &cols.to_le_bytes()],
                )?;
                let grid = [rows as u32 / 4, 1, 1];
                device.run(Launch { code: &code, grid, block: [128, 1, 1], dynamic_shared: 0, params, cooperative: false })?;
            }
        }
        println!("races {races}: {:.2} s", start.elapsed().as_secs_f32());
        print!("{}", count::table(&device.counts));
    }
    Ok(())
}
