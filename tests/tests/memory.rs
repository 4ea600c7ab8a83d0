//! Each fuzz target for some thousand executions; `cargo run -p sideman-tests --bin fuzz -- all 1000000` for a million.

use peak_alloc::PeakAlloc;
use sideman_tests::fuzz;

#[global_allocator]
static ALLOC: PeakAlloc = PeakAlloc;

/// One test, for memory is counted for the whole process.
#[test]
fn damaged_files_are_errors_and_hold_no_more_memory_than_they_should() {
    for name in fuzz::NAMES {
        let seen = fuzz::run(name, 3000, &mut |_, _| {}).unwrap_or_else(|what| panic!("{what}"));
        assert!(seen.answers > 5 && seen.peak.0 > 0, "{name}: {seen:?} is no fuzzing");
    }
}
