//! Planted faults: each is found and reported with kernel, PTX line, source line, block and thread.

use super::common::{Bench, arg, options, ptx};
use sideman_fakecuda::machine::{Fault, FaultKind, Order};

const ORDERS: [Order; 3] = [Order::Forward, Order::Reverse, Order::Random];

/// The line of `cu/faults.cu` that holds this text after the kernel's name.
fn source_line(kernel: &str, text: &str) -> u32 {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/cu/faults.cu");
    let source = std::fs::read_to_string(path).unwrap();
    let start = source.lines().position(|l| l.contains(&format!("KERNEL {kernel}("))).unwrap();
    let at = source.lines().skip(start).position(|l| l.contains(text)).unwrap();
    (start + at + 1) as u32
}

/// Runs a kernel of faults.cu on every architecture; it must fail with this kind, at this source line, with these words.
fn planted(kernel: &str, kind: FaultKind, line_of: &str, words: &[&str], start: impl Fn(&mut Bench) -> Result<(), Fault>) {
    for sm in [75, 80, 90, 120] {
        if kernel == "no_copy_wait" && sm == 75 {
            continue;
        }
        for order in ORDERS {
            let mut b = Bench::new(&ptx("faults", sm), sm, options(order));
            let fault = start(&mut b).expect_err(&format!("{kernel} sm_{sm} {order:?}: the fault was not found"));
            let text = fault.to_string();
            assert_eq!(fault.kind, kind, "{text}");
            assert_eq!(fault.kernel, kernel);
            for w in words {
                assert!(text.contains(w), "`{w}` is not in: {text}");
            }
            if !line_of.is_empty() {
                // Of two racing accesses, the order of warps decides which is the later.
                let lines: Vec<u32> = line_of.split('|').map(|l| source_line(kernel, l)).collect();
                let (file, line) = fault.source.clone().unwrap();
                assert!(file == "faults.cu" && lines.contains(&line), "line {lines:?}: {text}");
                assert!(fault.line > 0 && fault.thread.is_some(), "{text}");
                let code = ptx("faults", sm);
                assert!(code.lines().nth(fault.line as usize - 1).is_some_and(|l| l.trim().ends_with(';')), "{text}");
            }
        }
    }
}

fn floats(b: &mut Bench, n: usize) -> (u64, u64) {
    (b.alloc(4 * n), b.put(&vec![1f32; n]))
}

fn two(kernel: &'static str, threads: u32) -> impl Fn(&mut Bench) -> Result<(), Fault> {
    move |b| {
        let (y, x) = floats(b, 1024);
        b.launch(kernel, [1, 1, 1], [threads, 1, 1], 0, &[&arg(y), &arg(x)])
    }
}

#[test]
fn a_missing_barrier_between_write_and_read_is_found() {
    let run = two("no_barrier_write_read", 64);
    planted(
        "no_barrier_write_read",
        FaultKind::SharedRace,
        "63 - threadIdx|= x[threadIdx.x]",
        &["no __syncthreads between"],
        run,
    );
}

#[test]
fn a_missing_barrier_between_read_and_write_is_found() {
    let run = two("no_barrier_read_write", 64);
    planted("no_barrier_read_write", FaultKind::SharedRace, "v * 2.0f|63 - threadIdx", &["no __syncthreads between"], run);
}

#[test]
fn a_missing_syncwarp_is_found() {
    planted("no_syncwarp", FaultKind::SharedRace, "31 - threadIdx", &["no __syncwarp between"], two("no_syncwarp", 32));
}

#[test]
fn an_access_one_past_the_end_is_found() {
    planted(
        "out_of_bounds",
        FaultKind::OutOfBounds,
        "y[i] = 1.0f",
        &["0 bytes past the end of the 400 bytes", "thread (36,0,0)"],
        |b| {
            let y = b.alloc(400);
            b.launch("out_of_bounds", [2, 1, 1], [64, 1, 1], 0, &[&arg(y), &arg(100i32)])
        },
    );
}

#[test]
fn a_misaligned_vector_load_is_found() {
    planted("misaligned", FaultKind::Misaligned, "float4 v", &["16 bytes", "no multiple of 16"], two("misaligned", 32));
}

#[test]
fn a_shared_array_overrun_is_found() {
    planted("shared_overrun", FaultKind::SharedOutOfBounds, "s[threadIdx.x + extra]", &["past the end of", "256 bytes"], |b| {
        let y = b.alloc(256);
        b.launch("shared_overrun", [1, 1, 1], [64, 1, 1], 0, &[&arg(y), &arg(1i32)])
    });
}

#[test]
fn a_read_of_uninitialised_shared_memory_is_found() {
    planted("shared_uninitialised", FaultKind::SharedUninitialised, "y[threadIdx.x] = s", &["never written"], |b| {
        let y = b.alloc(256);
        b.launch("shared_uninitialised", [1, 1, 1], [64, 1, 1], 0, &[&arg(y), &arg(63i32)])
    });
}

#[test]
fn a_shuffle_from_an_absent_lane_is_found() {
    planted("half_warp_shuffle", FaultKind::DivergentCollective, "__shfl_xor_sync", &["lanes 0-15", "lanes 16-31 exited"], |b| {
        let y = b.alloc(128);
        b.launch("half_warp_shuffle", [1, 1, 1], [32, 1, 1], 0, &[&arg(y)])
    });
}

#[test]
fn a_barrier_that_some_lanes_miss_is_found() {
    planted("divergent_barrier", FaultKind::DivergentBarrier, "__syncthreads", &["lanes 0-15 wait", "16-31"], |b| {
        let y = b.alloc(128);
        b.launch("divergent_barrier", [1, 1, 1], [32, 1, 1], 0, &[&arg(y)])
    });
}

#[test]
fn a_wait_that_never_ends_is_found() {
    planted("wait_for_ever", FaultKind::Deadlock, "while (*flag", &["nothing moves any more", "spins"], |b| {
        let (flag, y) = (b.put(&[0u32]), b.alloc(4));
        b.launch("wait_for_ever", [1, 1, 1], [32, 1, 1], 0, &[&arg(flag), &arg(y)])
    });
    planted("barrier_for_ever", FaultKind::Deadlock, "bar.sync 1, 96", &["barrier 1", "32 of 96 threads came"], |b| {
        let y = b.alloc(256);
        b.launch("barrier_for_ever", [1, 1, 1], [64, 1, 1], 0, &[&arg(y)])
    });
}

/// Each block writes, fences, meets at a barrier and counts itself; the last one reads what another wrote.
const LAST_BLOCK: &str = "
.version 7.0
.target sm_75
.address_size 64
.visible .entry last(.param .u64 data, .param .u64 ticket)
{
    .reg .pred %p<3>;
    .reg .b32 %r<10>;
    .reg .b64 %rd<7>;
    .shared .align 4 .b8 s[4];
    mov.u32 %r1, %tid.x;
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %nctaid.x;
    ld.param.u64 %rd1, [data];
    ld.param.u64 %rd2, [ticket];
    mad.lo.s32 %r5, %r2, %r3, %r1;
    mul.wide.u32 %rd3, %r5, 4;
    add.s64 %rd4, %rd1, %rd3;
    st.global.u32 [%rd4], %r5;
    FENCE
    bar.sync 0;
    setp.ne.s32 %p1, %r1, 0;
    @%p1 bra WAIT;
    atom.global.add.u32 %r6, [%rd2], 1;
    st.shared.u32 [s], %r6;
WAIT:
    bar.sync 0;
    ld.shared.u32 %r6, [s];
    add.s32 %r7, %r4, -1;
    setp.ne.s32 %p2, %r6, %r7;
    @%p2 bra DONE;
    membar.gl;
    add.s32 %r8, %r2, 1;
    rem.u32 %r8, %r8, %r4;
    mad.lo.s32 %r9, %r8, %r3, %r1;
    mul.wide.u32 %rd5, %r9, 4;
    add.s64 %rd6, %rd1, %rd5;
    ld.volatile.global.u32 %r9, [%rd6];
DONE:
    ret;
}
";

#[test]
fn a_barrier_publishes_what_each_warp_fenced_before_it() {
    let run = |fence: &str, order| {
        let mut b = Bench::new(&LAST_BLOCK.replace("FENCE", fence), 75, options(order));
        let (data, ticket) = (b.put(&[0u32; 3 * 96]), b.put(&[0u32]));
        b.launch("last", [3, 1, 1], [96, 1, 1], 0, &[&arg(data), &arg(ticket)])
    };
    for order in ORDERS {
        run("membar.gl;", order).unwrap();
        assert_eq!(run("", order).unwrap_err().kind, FaultKind::GlobalRace, "{order:?}");
    }
    // Only the first warp: what the others write after it is not published.
    let first = "setp.lt.u32 %p1, %r1, 32;\n@!%p1 bra ON;\nmembar.gl;\nON:";
    assert_eq!(run(first, Order::Forward).unwrap_err().kind, FaultKind::GlobalRace);
}

/// A word that one lane writes and all read.
const ONE_WORD: &str = "
.version 7.0
.target sm_75
.address_size 64
.visible .entry one_word(.param .u64 data, .param .u32 writer)
{
    .reg .pred %p<2>;
    .reg .b32 %r<4>;
    .reg .b64 %rd<2>;
    .shared .align 4 .b8 s[4];
    ld.param.u64 %rd1, [data];
    ld.param.u32 %r1, [writer];
    mov.u32 %r2, %tid.x;
    setp.eq.s32 %p1, %r1, %r2;
    @%p1 st.SPACE.u32 [WORD], %r2;
    SYNC
    ld.SPACE.u32 %r3, [WORD];
    ret;
}
";

/// Where all lanes read one address, only a few reads are noted; they are enough to find the race with any writing lane.
#[test]
fn a_word_read_by_all_lanes_needs_a_syncwarp_after_any_writer() {
    let places = [("shared", "s", FaultKind::SharedRace), ("global", "%rd1", FaultKind::GlobalRace)];
    for ((space, word, kind), writer) in places.into_iter().flat_map(|p| [0u32, 1, 5, 31].map(|w| (p, w))) {
        let run = |sync: &str| {
            let code = ONE_WORD.replace("SPACE", space).replace("WORD", word).replace("SYNC", sync);
            let mut b = Bench::new(&code, 75, options(Order::Forward));
            let data = b.put(&[0u32]);
            b.launch("one_word", [1, 1, 1], [32, 1, 1], 0, &[&arg(data), &arg(writer)])
        };
        run("bar.warp.sync 0xffffffff;").unwrap();
        let fault = run("").expect_err("no race was found");
        assert_eq!(fault.kind, kind, "{fault}");
        assert_eq!(fault.thread.unwrap().1, [u32::from(writer == 0), 0, 0], "{fault}");
    }
}

#[test]
fn races_in_global_memory_are_found() {
    planted("global_race", FaultKind::GlobalRace, "y[0] =", &["nothing that orders the two"], |b| {
        let y = b.alloc(4);
        b.launch("global_race", [4, 1, 1], [1, 1, 1], 0, &[&arg(y)])
    });
    planted("global_race_read", FaultKind::GlobalRace, "", &["block"], |b| {
        let y = b.put(&[0u32; 128]);
        b.launch("global_race_read", [4, 1, 1], [32, 1, 1], 0, &[&arg(y)])
    });
    // As sum_last_block without the fence: the sum may be of old parts.
    planted("no_fence", FaultKind::GlobalRace, "v += parts[i]", &["written by block"], |b| {
        let (out, parts, done) = (b.alloc(4), b.alloc(64), b.put(&[0u32]));
        b.launch("no_fence", [8, 1, 1], [32, 1, 1], 0, &[&arg(out), &arg(parts), &arg(done)])
    });
}

#[test]
fn a_copy_that_is_not_waited_for_is_found() {
    planted("no_copy_wait", FaultKind::CopyNotWaited, "y[threadIdx.x] = s", &["cp.async still writes"], two("no_copy_wait", 128));
}

#[test]
fn a_trap_is_reported() {
    planted("trap_at_once", FaultKind::Trap, "", &[], |b| b.launch("trap_at_once", [1, 1, 1], [1, 1, 1], 0, &[]));
}

#[test]
fn bad_arguments_are_refused() {
    planted("fine", FaultKind::BadArgument, "", &["argument 1", "host pointer"], |b| {
        let (y, x) = (b.alloc(128), Box::new([0f32; 32]));
        b.launch("fine", [1, 1, 1], [32, 1, 1], 0, &[&arg(y), &arg(x.as_ptr() as u64), &arg(32i32)])
    });
    planted("fine", FaultKind::BadArgument, "", &["argument 0", "that were freed"], |b| {
        let (y, x) = floats(b, 32);
        b.device.memory.free(y);
        b.launch("fine", [1, 1, 1], [32, 1, 1], 0, &[&arg(y), &arg(x), &arg(32i32)])
    });
}

#[test]
fn launches_beyond_the_limits_are_refused() {
    let try_block = |block: [u32; 3], grid: [u32; 3], shared: u32, words: &str| {
        planted("fine", FaultKind::LaunchLimit, "", &[words], |b| {
            let (y, x) = floats(b, 32);
            b.launch("fine", grid, block, shared, &[&arg(y), &arg(x), &arg(32i32)])
        });
    };
    try_block([1025, 1, 1], [1, 1, 1], 0, "at most 1024");
    try_block([1, 1, 65], [1, 1, 1], 0, "1024 x 1024 x 64");
    try_block([32, 1, 1], [1, 65536, 1], 0, "65535");
    try_block([0, 1, 1], [1, 1, 1], 0, "size 0");
    try_block([32, 1, 1], [1, 1, 1], 49153, "MAX_DYNAMIC_SHARED");
    planted("fine", FaultKind::LaunchLimit, "", &["cooperative launch of 100000 blocks"], |b| {
        let (y, x) = floats(b, 32);
        b.start("fine", [100000, 1, 1], [32, 1, 1], 0, &[&arg(y), &arg(x), &arg(32i32)], true)
    });
}

#[test]
fn an_input_that_is_also_the_output_is_found() {
    // `const __restrict__` lets the compiler read through the read-only path: writing there in one launch is an error.
    let mut b = Bench::new(&ptx("norm", 80), 80, options(Order::Forward));
    let (x, gain) = (b.put(&[1f32; 256]), b.put(&[1f32; 64]));
    let args = [arg(x), arg(x), arg(gain), arg(gain), arg(1e-5f32), arg(64i32), arg(0i32)];
    let fault = b.launch("layer_norm", [4, 1, 1], [64, 1, 1], 0, &args.each_ref().map(|a| &a[..])).unwrap_err();
    assert_eq!(fault.kind, FaultKind::GlobalRace);
    assert!(fault.detail.contains("read-only"), "{fault}");
}
