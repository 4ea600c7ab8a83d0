//! A hop on a GPU (the emulator in tests/fakecuda) allocates and frees no host memory after the first one:
//! CUDA graphs are recorded before.

use assert_no_alloc::{assert_no_alloc, reset_violation_count, violation_count};
use sideman_engine::live::{Action, Command, Request, Session, SessionConfig, Which};
use sideman_engine::model::Model;
use sideman_engine::model::ModelDir;
use sideman_fakecuda::Fake;
use sideman_kernels::cuda::CudaBackend;
use sideman_kernels::{Backend, Format};
use sideman_tests::fixture::Fixture;
use sideman_tests::jam::bass;

#[test]
fn a_hop_on_a_gpu_allocates_no_host_memory() {
    // The counter works.
    assert_no_alloc(|| drop(std::hint::black_box(vec![0u8; 100])));
    assert!(violation_count() > 0);
    reset_violation_count();

    let dir = tempfile::tempdir().unwrap();
    Fixture::short().write(dir.path()).unwrap();
    let fake = Fake::load("sm=80 races=0").unwrap();
    let mut cuda = CudaBackend::new(0).unwrap();
    let mut model = Model::load(&mut cuda, &ModelDir::open(dir.path()).unwrap(), Format::Bf16).unwrap();
    let text = model.text.as_mut().unwrap().encode("funk drums").unwrap();
    let settings = SessionConfig {
        lag: 6,
        tempo: 240.0,
        guided: true,
        cfg_scale: 2.0,
        text_room: 32,
        ..SessionConfig::for_model(model.config())
    };
    let mut session = Session::new(&mut cuda, &model, &settings, Some(&text)).unwrap();
    let input_stem = bass(60 * 640);
    session.hop(&mut cuda, &model, &input_stem[..4 * 640]).unwrap();
    let launches = cuda.launches();
    let requests = [Command::Stem(Which::All, Action::Regen), Command::Guided(false), Command::InputStem(Some(1))];
    for (i, command) in requests.into_iter().enumerate() {
        session.request(Request { command, when: None, from: 0 });
        session.set_text(&mut cuda, &model, Some(&text).filter(|_| i % 2 == 0)).unwrap();
        for frames in [1, 20] {
            assert_no_alloc(|| session.hop(&mut cuda, &model, &input_stem[..frames * 640]).unwrap());
            assert_eq!(violation_count(), 0, "request {i}, hop of {frames}");
        }
    }
    assert!(cuda.launches() > launches, "nothing was played");
    assert_eq!((cuda.failure(), fake.faults()), (None, vec![]));
}
