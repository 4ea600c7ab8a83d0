//! Memory operations, and what constructors refuse.

use super::*;

#[test]
fn shift_zero_copy_and_read_use_the_ranges_given() {
    let mut backend = CpuBackend::new(1);
    let mut b = buf(&mut backend, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    backend.shift(&mut b, 2, 0, 4);
    backend.zero(&mut b, 5, 1);
    assert_eq!(b[..], [2.0, 3.0, 4.0, 5.0, 4.0, 0.0]);
    let mut to = backend.buf(7).unwrap();
    backend.copy(&b, Rows { count: 2, at: 1, stride: 2 }, &mut to, Rows { count: 2, at: 0, stride: 4 }, 2);
    assert_eq!(to[..], [3.0, 4.0, 0.0, 0.0, 5.0, 4.0, 0.0]);
    let mut out = [0.0; 2];
    backend.read(&to, 4, &mut out);
    assert_eq!(out, [5.0, 4.0]);
}

#[test]
fn constructors_return_errors_for_impossible_sizes() {
    let mut backend = CpuBackend::new(1);
    let heads = Heads { heads: 2, head_dim: 8 };
    assert!(matches!(backend.buf(usize::MAX / 2), Err(BackendError::Memory { .. })));
    assert!(matches!(backend.ints(usize::MAX / 2), Err(BackendError::Memory { .. })));
    assert!(matches!(backend.kv(1 << 30, 1 << 30, 1 << 30, heads, Format::F32), Err(BackendError::Memory { .. })));
    assert!(matches!(backend.kv(0, 1, 1, heads, Format::F32), Err(BackendError::Shape { .. })));
    assert!(matches!(backend.kv(1, 1, 1, heads, Format::Q8), Err(BackendError::Shape { .. })));
    assert!(matches!(backend.kv(1, 1, 1, heads, Format::Q4), Err(BackendError::Shape { .. })));
    let grid = Grid { songs: 1, branches: 3, cards: vec![4], delays: vec![0], cfg_scale: vec![1.0], steps: 4 };
    assert!(matches!(backend.sampler(&grid), Err(BackendError::Shape { .. })));
    assert!(matches!(backend.sampler(&Grid { branches: 1, delays: vec![], ..grid.clone() }), Err(BackendError::Shape { .. })));
    assert!(matches!(backend.sampler(&Grid { branches: 1, cfg_scale: vec![], ..grid }), Err(BackendError::Shape { .. })));
}

#[test]
fn a_backend_can_be_sent_to_another_thread() {
    fn sendable<T: Send>(_: &T) {}
    sendable(&CpuBackend::new(1));
}
