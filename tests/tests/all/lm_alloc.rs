//! A language model run allocates nothing after its first step.

use assert_no_alloc::{assert_no_alloc, reset_violation_count, violation_count};
use sideman_engine::lm::{Lm, RunSpec};
use sideman_engine::model::ModelDir;
use sideman_engine::text::TextEncoder;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Format, Sampling};
use sideman_tests::fixture::Fixture;

#[test]
fn a_run_allocates_nothing_after_the_first_step() {
    // Without a counting allocator the test could not fail.
    assert_no_alloc(|| drop(std::hint::black_box(vec![0u8; 100])));
    assert!(violation_count() > 0);
    reset_violation_count();

    let dir = tempfile::tempdir().unwrap();
    Fixture::short().write(dir.path()).unwrap();
    let dir = ModelDir::open(dir.path()).unwrap();
    let mut cpu = CpuBackend::new(1);
    let lm = Lm::load(&mut cpu, &dir, Format::F32).unwrap();
    let funk = TextEncoder::load(&dir).unwrap().unwrap().encode("funk drums").unwrap();
    for (top_k, top_p) in [(250, 0.0), (10, 0.0), (0, 0.9)] {
        let sampling = Sampling { temperature: 1.0, top_k, top_p, cfg: 3.0, seed: 7, frame_base: 0 };
        let spec = RunSpec {
            songs: 2,
            guided: true,
            delays: &[4, 0, 0, 1, 2, 3],
            frames: 60,
            texts: &[Some(&funk), None],
            text_room: 16,
            kv: Format::F32,
            block: 8,
            sampling,
        };
        let mut run = lm.run(&mut cpu, &spec).unwrap();
        let bass = [5; 60];
        let mut column = [0; 12];
        for k in 0..6 {
            run.put(&mut cpu, 0, k, 0, &bass[..20]).unwrap();
            run.put(&mut cpu, 1, k, 0, &bass[..20]).unwrap();
        }
        run.next(&mut cpu, &lm, usize::MAX);
        let mut rolled_back = false;
        assert_no_alloc(|| {
            // As in live play: write the input stem's tokens and the controls, step, read the tokens; one rollback.
            while run.at() < 50 {
                let frame = run.at();
                run.put(&mut cpu, 0, 0, frame, &bass[..1]).unwrap();
                run.control(&mut cpu, &lm, 0, run.at() + 1, &[3]);
                run.next(&mut cpu, &lm, usize::MAX);
                run.column(&mut cpu, run.at(), &mut column);
                if run.at() == 45 && !rolled_back {
                    rolled_back = true;
                    run.rollback(&mut cpu, 30).unwrap();
                    run.put(&mut cpu, 1, 1, 40, &bass[..1]).unwrap();
                }
            }
            run.set_text(&mut cpu, &lm, 1, Some(&funk)).unwrap();
            run.rollback(&mut cpu, 22).unwrap();
            run.set_sampling(&mut cpu, &Sampling { temperature: 0.5, ..sampling });
            while run.next(&mut cpu, &lm, usize::MAX) > 0 {}
        });
        assert_eq!(violation_count(), 0, "top_k {top_k}, top_p {top_p}");
    }
}
