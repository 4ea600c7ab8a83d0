//! Counts of kernels whose traffic can be counted by hand.

use super::common::{Bench, arg, options};
use sideman_fakecuda::machine::{Order, count};

/// A kernel in which each thread loads a float at `stride * tid` and copies it through shared memory at the same stride.
fn text(stride: u32) -> String {
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 a)\n{{\n.shared .align 4 .b8 s[16384];\n.reg .b64 %a, %t;\n.reg .b32 %i, %v, %w;\n\
         ld.param.u64 %a, [a];\nmov.u32 %i, %tid.x;\nmul.lo.u32 %i, %i, {};\ncvt.u64.u32 %t, %i;\nadd.s64 %a, %a, %t;\n\
         ld.global.b32 %v, [%a];\nmov.u32 %w, s;\nadd.u32 %w, %w, %i;\nst.shared.b32 [%w], %v;\nbar.sync 0;\nret;\n}}\n",
        4 * stride
    )
}

#[test]
fn sectors_wavefronts_and_barriers_are_counted() {
    for (stride, sectors, waves) in [(1, 4, 1), (2, 8, 2), (3, 12, 1), (8, 32, 8), (32, 32, 32), (0, 1, 1)] {
        let mut b = Bench::new(&text(stride), 80, options(Order::Forward));
        let a = b.put(&[0f32; 4096]);
        b.launch("k", [3, 1, 1], [64, 1, 1], 0, &[&arg(a)]).unwrap_or_else(|f| panic!("{f}"));
        let c = &b.device.counts[0];
        let warps = 6;
        assert_eq!((c.launches, c.blocks, c.barriers), (1, 3, 3));
        assert_eq!((c.total.warps, c.total.lanes), (11 * warps, 11 * warps * 32));
        assert_eq!(c.total.global_bytes, warps * 128);
        assert_eq!(c.total.sectors, warps * sectors, "stride {stride}");
        assert_eq!(c.total.ideal_sectors, warps * if stride == 0 { 1 } else { 4 });
        assert_eq!((c.total.waves, c.total.ideal_waves), (warps * waves, warps), "stride {stride}");
        let json: serde_json::Value = serde_json::from_str(&count::json(&b.device.counts)).unwrap();
        assert_eq!(json[0]["sectors"], warps * sectors);
        assert_eq!(json[0]["memory_lines"][0]["ptx_line"], 14);
        assert_eq!(count::table(&b.device.counts).contains("PTX line 14"), sectors > 4);
    }
}
