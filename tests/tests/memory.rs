//! Runs each fuzz target for 3000 executions; `cargo run -p sideman-tests --bin fuzz -- all 1000000` runs each a million times.

use peak_alloc::PeakAlloc;
use sideman_tests::fuzz;

#[global_allocator]
static ALLOC: PeakAlloc = PeakAlloc;

/// The only test of this binary, because memory is counted for the whole process.
#[test]
fn readers_reject_damaged_files_within_their_memory_limits() {
    for name in fuzz::NAMES {
        let stats = fuzz::run(name, 3000, fuzz::SEED, &mut |_, _| {}).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(stats.outcomes > 5 && stats.peak.0 > 0, "{name}: {stats:?}: the mutated inputs reach only few outcomes");
    }
}
