//! The unmodified cudarc on the fake driver: what its examples do (allocate, copy, launch, streams, graph, events),
//! the rules of CUDA that it checks, and faults that it finds.

use cudarc::driver::sys::{CUevent_flags, CUfunction_attribute, CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, CudaGraph, CudaStream, DriverError, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use sideman_fakecuda::Fake;
use std::sync::Arc;

fn ptx(name: &str, sm: u32) -> Ptx {
    let path = format!("{}/cu/ptx/{name}.sm_{sm}.ptx", env!("CARGO_MANIFEST_DIR"));
    Ptx::from_src(std::fs::read_to_string(path).unwrap())
}

fn fine(n: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (n.div_ceil(64), 1, 1), block_dim: (64, 1, 1), shared_mem_bytes: 0 }
}

fn is<T>(r: Result<T, DriverError>, code: CUresult) {
    match r {
        Ok(_) => panic!("{code:?} expected"),
        Err(e) => assert_eq!(e.0, code),
    }
}

/// Both modes, eager and lazy.
const MODES: [&str; 2] = ["eager", "lazy"];

#[test]
fn copies_move_the_bytes_they_should() {
    for mode in MODES {
        let fake = Fake::load(mode).unwrap();
        let ctx = CudaContext::new(0).unwrap();
        assert!(ctx.name().unwrap().contains("sm_80"));
        assert_eq!(ctx.compute_capability().unwrap(), (8, 0));
        let stream = ctx.default_stream();
        let zeros = stream.alloc_zeros::<f64>(10).unwrap();
        assert_eq!(stream.clone_dtoh(&zeros).unwrap(), [0.0; 10]);
        let mut a = stream.clone_htod(&[1u16, 2, 3, 4, 5]).unwrap();
        let b = a.try_clone().unwrap();
        stream.memcpy_htod(&[9, 8], &mut a.slice_mut(1..3)).unwrap();
        assert_eq!(stream.clone_dtoh(&a).unwrap(), [1, 9, 8, 4, 5]);
        assert_eq!(stream.clone_dtoh(&b).unwrap(), [1, 2, 3, 4, 5]);
        let mut half = [0; 2];
        stream.memcpy_dtoh(&b.slice(3..), &mut half).unwrap();
        assert_eq!(half, [4, 5]);
        let (free, total) = ctx.mem_get_info().unwrap();
        assert!(free < total && total - free < 4096);
        drop((zeros, a, b));
        ctx.synchronize().unwrap();
        assert_eq!(ctx.mem_get_info().unwrap().0, total);
        assert_eq!(fake.faults(), [""; 0]);
    }
}

#[test]
fn fresh_memory_is_nan() {
    let _fake = Fake::load("").unwrap();
    let stream = CudaContext::new(0).unwrap().default_stream();
    // SAFETY: the bytes are read as floats, whatever they are.
    let a = unsafe { stream.alloc::<f32>(3) }.unwrap();
    assert!(stream.clone_dtoh(&a).unwrap().iter().all(|v| v.is_nan()));
}

#[test]
fn launches_run_and_functions_have_attributes() {
    for mode in MODES {
        let fake = Fake::load(mode).unwrap();
        let ctx = CudaContext::new(0).unwrap();
        let stream = ctx.new_stream().unwrap();
        let module = ctx.load_module(ptx("faults", 80)).unwrap();
        let f = module.load_function("fine").unwrap();
        assert_eq!(f.ptx_version().unwrap(), 80);
        assert_eq!(f.shared_size_bytes().unwrap(), 0);
        assert!(f.occupancy_max_active_blocks_per_multiprocessor(128, 0, None).unwrap() > 0);
        is(module.load_function("missing"), CUresult::CUDA_ERROR_NOT_FOUND);
        let x: Vec<f32> = (0..100).map(|i| i as f32).collect();
        let xd = stream.clone_htod(&x).unwrap();
        let mut y = stream.alloc_zeros::<f32>(100).unwrap();
        // SAFETY: the arguments are those of `fine`.
        unsafe { stream.launch_builder(&f).arg(&mut y).arg(&xd).arg(&100i32).launch(fine(100)) }.unwrap();
        assert_eq!(stream.clone_dtoh(&y).unwrap(), x.iter().map(|v| v * 2.0).collect::<Vec<_>>());
        let counts: serde_json::Value = serde_json::from_str(&fake.counts_json()).unwrap();
        assert_eq!(counts[0]["kernel"], "fine");
        assert_eq!(counts[0]["global_bytes"], 800);
        assert!(fake.counts_table().contains("fine"));
        assert_eq!(fake.faults(), [""; 0]);
    }
}

#[test]
fn constant_memory_is_written_and_read() {
    let _fake = Fake::load("lazy").unwrap();
    let ctx = CudaContext::new(0).unwrap();
    let stream = ctx.default_stream();
    let module = ctx.load_module(ptx("faults", 75)).unwrap();
    let mut symbol = module.get_global("coefficients", &stream).unwrap();
    assert_eq!(symbol.len(), 16);
    // SAFETY: 16 bytes are four floats.
    let mut coefficients = unsafe { symbol.transmute_mut::<f32>(4) }.unwrap();
    stream.memcpy_htod(&[1.0, 2.0, 3.0, 4.0], &mut coefficients).unwrap();
    let f = module.load_function("polynomial").unwrap();
    let x = stream.clone_htod(&[0f32, 1.0, 2.0]).unwrap();
    let mut y = stream.alloc_zeros::<f32>(3).unwrap();
    // SAFETY: the arguments are those of `polynomial`.
    unsafe { stream.launch_builder(&f).arg(&mut y).arg(&x).arg(&3i32).launch(fine(3)) }.unwrap();
    assert_eq!(stream.clone_dtoh(&y).unwrap(), [1.0, 10.0, 49.0]);
}

#[test]
fn streams_wait_for_events_of_other_threads() {
    for mode in MODES {
        let fake = Fake::load(mode).unwrap();
        let ctx = CudaContext::new(0).unwrap();
        let stream = ctx.default_stream();
        let module = ctx.load_module(ptx("faults", 80)).unwrap();
        let f = module.load_function("fine").unwrap();
        let x = stream.clone_htod(&[1f32, 2.0, 3.0]).unwrap();
        let mut y = stream.alloc_zeros::<f32>(3).unwrap();
        let other = stream.fork().unwrap();
        let start = other.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).unwrap();
        // SAFETY: the arguments are those of `fine`.
        unsafe { other.launch_builder(&f).arg(&mut y).arg(&x).arg(&3i32).launch(fine(3)) }.unwrap();
        let end = other.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).unwrap();
        stream.join(&other).unwrap();
        assert_eq!(stream.clone_dtoh(&y).unwrap(), [2.0, 4.0, 6.0]);
        assert!(start.elapsed_ms(&end).unwrap() >= 0.0);
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    let stream = ctx.new_stream().unwrap();
                    let x = stream.clone_htod(&[5f32; 4]).unwrap();
                    let mut y = stream.alloc_zeros::<f32>(4).unwrap();
                    // SAFETY: as above.
                    unsafe { stream.launch_builder(&f).arg(&mut y).arg(&x).arg(&4i32).launch(fine(4)) }.unwrap();
                    assert_eq!(stream.clone_dtoh(&y).unwrap(), [10.0; 4]);
                });
            }
        });
        assert_eq!(fake.faults(), [""; 0]);
    }
}

fn capturing(ctx: &Arc<CudaContext>) -> Arc<CudaStream> {
    // SAFETY: one stream in order; no event of cudarc's own is needed.
    unsafe { ctx.disable_event_tracking() };
    ctx.new_stream().unwrap()
}

fn begin(stream: &CudaStream) {
    stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
}

fn end(stream: &Arc<CudaStream>) -> Result<Option<CudaGraph>, DriverError> {
    stream.end_capture(CUgraphInstantiate_flags(0))
}

#[test]
fn a_captured_graph_replays() {
    for mode in MODES {
        let fake = Fake::load(mode).unwrap();
        let ctx = CudaContext::new(0).unwrap();
        let stream = capturing(&ctx);
        let module = ctx.load_module(ptx("faults", 80)).unwrap();
        let f = module.load_function("fine").unwrap();
        let mut a = stream.clone_htod(&[1f32; 8]).unwrap();
        let mut b = stream.alloc_zeros::<f32>(8).unwrap();
        let mut host = ctx.alloc_pinned_with_flags_for_test(8);
        begin(&stream);
        // SAFETY: the arguments are those of `fine`.
        unsafe { stream.launch_builder(&f).arg(&mut b).arg(&a).arg(&8i32).launch(fine(8)) }.unwrap();
        stream.memcpy_dtod(&b, &mut a).unwrap();
        stream.memcpy_dtoh(&b, &mut host).unwrap();
        let graph = end(&stream).unwrap().unwrap();
        graph.upload().unwrap();
        for round in 1..5 {
            graph.launch().unwrap();
            stream.synchronize().unwrap();
            assert_eq!(host.as_slice().unwrap(), [(1 << round) as f32; 8]);
        }
        assert_eq!(fake.faults(), [""; 0]);
    }
}

trait AllocPinned {
    fn alloc_pinned_with_flags_for_test(&self, n: usize) -> cudarc::driver::PinnedHostSlice<f32>;
}
impl AllocPinned for Arc<CudaContext> {
    fn alloc_pinned_with_flags_for_test(&self, n: usize) -> cudarc::driver::PinnedHostSlice<f32> {
        // SAFETY: written before it is read.
        let mut p = unsafe { self.alloc_pinned::<f32>(n) }.unwrap();
        p.as_mut_slice().unwrap().fill(0.0);
        p
    }
}

#[test]
fn a_read_before_synchronising_is_found() {
    let fake = Fake::load("lazy").unwrap();
    let ctx = CudaContext::new(0).unwrap();
    let stream = capturing(&ctx);
    let a = stream.clone_htod(&[7f32; 4]).unwrap();
    let mut host = ctx.alloc_pinned_with_flags_for_test(4);
    stream.memcpy_dtoh(&a, &mut host).unwrap();
    // With event tracking off, cudarc's slice does not wait: the old values are there, and the access is noted.
    assert_eq!(host.as_slice().unwrap(), [0.0; 4]);
    let faults = fake.faults();
    assert!(faults.len() == 1 && faults[0].starts_with("read before synchronise"), "{faults:?}");
    stream.synchronize().unwrap();
    assert_eq!(host.as_slice().unwrap(), [7.0; 4]);
    assert_eq!(fake.faults(), [""; 0]);
}

#[test]
fn a_kernel_accesses_pinned_memory() {
    for mode in MODES {
        let fake = Fake::load(mode).unwrap();
        let ctx = CudaContext::new(0).unwrap();
        let stream = capturing(&ctx);
        let module = ctx.load_module(ptx("faults", 80)).unwrap();
        let f = module.load_function("fine").unwrap();
        let x = stream.clone_htod(&[1f32, 2.0]).unwrap();
        let mut host = ctx.alloc_pinned_with_flags_for_test(2);
        let at = host.as_mut_ptr().unwrap() as u64;
        // SAFETY: pinned memory is at the same address for the device.
        unsafe { stream.launch_builder(&f).arg(&at).arg(&x).arg(&2i32).launch(fine(2)) }.unwrap();
        stream.synchronize().unwrap();
        assert_eq!(host.as_slice().unwrap(), [2.0, 4.0]);
        assert_eq!(fake.faults(), [""; 0]);
    }
}

#[test]
fn calls_that_a_capture_forbids_are_refused() {
    let fake = Fake::load("").unwrap();
    let ctx = CudaContext::new(0).unwrap();
    let stream = capturing(&ctx);
    let named = |word: &str| {
        let faults = fake.faults();
        assert!(faults.iter().any(|f| f.contains("while capturing") && f.contains(word)), "{word}: {faults:?}");
    };
    // The default stream can't be captured.
    let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    is(ctx.default_stream().begin_capture(mode), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    named("default stream");
    // Allocation.
    begin(&stream);
    is(stream.alloc_zeros::<f32>(4), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    is(end(&stream), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    named("allocation");
    // Synchronising.
    begin(&stream);
    is(stream.synchronize(), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    is(end(&stream), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    named("Synchronize");
    // A copy from memory that is not pinned.
    let mut a = stream.alloc_zeros::<f32>(4).unwrap();
    begin(&stream);
    is(stream.memcpy_htod(&[1f32; 4], &mut a), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    is(end(&stream), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    named("pageable");
    // An event from outside.
    let other = ctx.new_stream().unwrap();
    let event = other.record_event(None).unwrap();
    begin(&stream);
    is(stream.wait(&event), CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    is(end(&stream), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    named("outside the capture");
    // A fork that is not joined, and one that is.
    begin(&stream);
    other.wait(&stream.record_event(None).unwrap()).unwrap();
    is(end(&stream), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    named("not joined");
    begin(&stream);
    other.wait(&stream.record_event(None).unwrap()).unwrap();
    other.memset_zeros(&mut a).unwrap();
    stream.wait(&other.record_event(None).unwrap()).unwrap();
    end(&stream).unwrap().unwrap().launch().unwrap();
    stream.synchronize().unwrap();
    // Flags that don't go together.
    begin(&stream);
    let flags = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH
        | CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH;
    is(stream.end_capture(flags), CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(fake.faults(), [""; 0]);
}

#[test]
fn faulty_launches_return_the_codes_of_cuda() {
    let cases: [(&str, CUresult, &str); 4] = [
        ("out_of_bounds", CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, "out of bounds"),
        ("misaligned", CUresult::CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned"),
        ("no_barrier_write_read", CUresult::CUDA_ERROR_LAUNCH_FAILED, "shared memory race"),
        ("no_syncwarp", CUresult::CUDA_ERROR_LAUNCH_FAILED, "__syncwarp"),
    ];
    for (kernel, code, words) in cases {
        for mode in MODES {
            let fake = Fake::load(mode).unwrap();
            let ctx = CudaContext::new(0).unwrap();
            let stream = capturing(&ctx);
            let module = ctx.load_module(ptx("faults", 80)).unwrap();
            let f = module.load_function(kernel).unwrap();
            let (mut y, x) = (stream.alloc_zeros::<f32>(63).unwrap(), stream.clone_htod(&[0f32; 64]).unwrap());
            let cfg = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (64, 1, 1), shared_mem_bytes: 0 };
            let mut launch = stream.launch_builder(&f);
            launch.arg(&mut y);
            if kernel == "out_of_bounds" {
                launch.arg(&63i32);
            } else {
                launch.arg(&x);
            }
            // SAFETY: the arguments have the kernel's sizes; what it does with them is checked.
            let _ = unsafe { launch.launch(cfg) };
            is(stream.synchronize(), code);
            // The error stays.
            is(stream.clone_dtoh(&x), code);
            assert!(fake.faults()[0].contains(words));
        }
    }
}

#[test]
fn a_host_pointer_as_an_argument_is_found() {
    let fake = Fake::load("lazy").unwrap();
    let ctx = CudaContext::new(0).unwrap();
    let stream = capturing(&ctx);
    let module = ctx.load_module(ptx("faults", 80)).unwrap();
    let f = module.load_function("fine").unwrap();
    let mut y = stream.alloc_zeros::<f32>(4).unwrap();
    let host = [1f32; 4];
    // SAFETY: the wrong pointer is the test: the fake never follows it.
    unsafe { stream.launch_builder(&f).arg(&mut y).arg(&(host.as_ptr() as u64)).arg(&4i32).launch(fine(4)) }.unwrap();
    is(stream.synchronize(), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    let faults = fake.faults();
    assert!(faults[0].contains("argument 1") && faults[0].contains("host pointer"), "{faults:?}");
}

#[test]
fn launch_limits_hold_and_a_cooperative_launch_runs() {
    let fake = Fake::load("sm=75 sms=2").unwrap();
    let ctx = CudaContext::new(0).unwrap();
    let stream = ctx.default_stream();
    let module = ctx.load_module(ptx("grid", 75)).unwrap();
    let f = module.load_function("smooth").unwrap();
    let mut a = stream.clone_htod(&[3f32; 256]).unwrap();
    let mut b = stream.alloc_zeros::<f32>(256).unwrap();
    let mut barrier = stream.alloc_zeros::<u32>(2).unwrap();
    let mut start = |blocks: u32, threads: u32, shared: u32| {
        let cfg = LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: shared };
        let mut l = stream.launch_builder(&f);
        l.arg(&mut a).arg(&mut b).arg(&mut barrier).arg(&256i32).arg(&3i32);
        // SAFETY: the arguments are those of `smooth`.
        unsafe { l.launch_cooperative(cfg) }.map(|_| ())
    };
    start(4, 64, 0).unwrap();
    is(start(1000, 64, 0), CUresult::CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
    is(start(1, 2048, 0), CUresult::CUDA_ERROR_INVALID_VALUE);
    is(start(4, 64, 50_000), CUresult::CUDA_ERROR_INVALID_VALUE);
    f.set_attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 60_000).unwrap();
    start(2, 64, 50_000).unwrap();
    let too_much = f.set_attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 70_000);
    is(too_much, CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(stream.clone_dtoh(&b).unwrap()[..128], [3.0; 128]);
    assert_eq!(fake.faults().len(), 3);
}

#[test]
fn the_device_has_the_options_given() {
    let fake = Fake::load("sm=75 ptx=80").unwrap();
    let ctx = CudaContext::new(0).unwrap();
    assert_eq!(ctx.compute_capability().unwrap(), (7, 5));
    ctx.load_module(ptx("gemv", 75)).unwrap();
    is(ctx.load_module(ptx("gemv", 80)), CUresult::CUDA_ERROR_INVALID_PTX);
    assert!(fake.faults()[0].contains("sm_80"));
    is(ctx.load_module(Ptx::from_src("no ptx")), CUresult::CUDA_ERROR_INVALID_SOURCE);
    drop(fake);
    let _fake = Fake::load("sm=120 ptx=80").unwrap();
    let ctx = CudaContext::new(0).unwrap();
    assert_eq!(ctx.compute_capability().unwrap(), (12, 0));
    ctx.load_module(ptx("gemv", 90)).unwrap();
    is(ctx.load_module(ptx("gemv", 120)), CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
    drop(_fake);
    let _fake = Fake::load("devices=0").unwrap();
    is(CudaContext::new(0), CUresult::CUDA_ERROR_NO_DEVICE);
}

#[test]
fn handles_of_an_earlier_driver_are_invalid() {
    let fake = Fake::load("").unwrap();
    let ctx = CudaContext::new(0).unwrap();
    let stream = ctx.new_stream().unwrap();
    let old = stream.clone_htod(&[1f32; 4]).unwrap();
    drop(fake);
    let fake = Fake::load("").unwrap();
    let new_ctx = CudaContext::new(0).unwrap();
    let new_stream = new_ctx.new_stream().unwrap();
    let new = new_stream.clone_htod(&[2f32; 4]).unwrap();
    assert!(stream.clone_dtoh(&old).is_err());
    drop((old, stream, ctx));
    assert_eq!(new_stream.clone_dtoh(&new).unwrap(), [2.0; 4]);
    drop(fake);
}

#[test]
fn an_unknown_option_is_refused() {
    assert!(Fake::load("sm=eighty").is_err());
    assert!(Fake::load("colour=red").is_err());
}
