//! The golden vectors of `tests/golden` (see its README): where they lie, and how two sets of numbers compare.

use std::path::PathBuf;

use serde_json::Value;
use sideman_engine::model::{ModelDir, Tensors};

/// Path of a golden file or folder.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

/// A golden model directory.
pub fn model(name: &str) -> ModelDir {
    ModelDir::open(path(name)).unwrap_or_else(|e| panic!("{e}"))
}

/// A golden file of tensors.
pub fn tensors(name: &str) -> Tensors {
    Tensors::open(&path(name)).unwrap_or_else(|e| panic!("{e}"))
}

/// A golden JSON file.
pub fn json(name: &str) -> Value {
    let text = std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A tensor with its shape.
pub fn values(file: &mut Tensors, name: &str) -> (Vec<usize>, Vec<f32>) {
    let shape = file.shape(name).unwrap_or_else(|| panic!("no tensor {name}")).to_vec();
    let values = file.get(name, &shape).unwrap_or_else(|e| panic!("{e}"));
    (shape, values)
}

/// A tensor of whole numbers with its shape.
pub fn ints(file: &mut Tensors, name: &str) -> (Vec<usize>, Vec<i32>) {
    let (shape, values) = file.ints(name).unwrap_or_else(|e| panic!("{e}"));
    (shape, values.into_iter().map(|v| v as i32).collect())
}

/// A list of whole numbers in JSON.
pub fn list(value: &Value) -> Vec<i32> {
    value.as_array().expect("a list").iter().map(|v| v.as_i64().expect("a whole number") as i32).collect()
}

/// Rows of whole numbers in JSON.
pub fn rows(value: &Value) -> Vec<Vec<i32>> {
    value.as_array().expect("rows").iter().map(list).collect()
}

/// ‖a − b‖ / ‖b‖.
pub fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |v: f64| v * v;
    let off: f64 = a.iter().zip(b).map(|(x, y)| square(f64::from(*x) - f64::from(*y))).sum();
    let all: f64 = b.iter().map(|y| square(f64::from(*y))).sum();
    (off / all).sqrt()
}
