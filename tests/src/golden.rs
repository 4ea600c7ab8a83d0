//! Access to the reference outputs in `tests/golden` (its README says how they were made), and the measure that compares with them.

use std::path::PathBuf;

use serde_json::Value;
use sideman_engine::model::{ModelDir, Tensors};

/// The path of a file or folder of `tests/golden`.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

/// Opens a model directory of `tests/golden`.
pub fn model(name: &str) -> ModelDir {
    ModelDir::open(path(name)).unwrap_or_else(|e| panic!("{e}"))
}

/// Opens a safetensors file of `tests/golden`.
pub fn tensors(name: &str) -> Tensors {
    Tensors::open(&path(name)).unwrap_or_else(|e| panic!("{e}"))
}

/// Reads a JSON file of `tests/golden`.
pub fn json(name: &str) -> Value {
    let text = std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The shape and values of a tensor.
pub fn values(file: &mut Tensors, name: &str) -> (Vec<usize>, Vec<f32>) {
    let shape = file.shape(name).unwrap_or_else(|| panic!("no tensor {name}")).to_vec();
    let values = file.get(name, &shape).unwrap_or_else(|e| panic!("{e}"));
    (shape, values)
}

/// The shape and values of a tensor of integers.
pub fn ints(file: &mut Tensors, name: &str) -> (Vec<usize>, Vec<i32>) {
    let (shape, values) = file.ints(name).unwrap_or_else(|e| panic!("{e}"));
    (shape, values.into_iter().map(|v| v as i32).collect())
}

/// The integers of a JSON array.
pub fn list(value: &Value) -> Vec<i32> {
    value.as_array().expect("a list").iter().map(|v| v.as_i64().expect("an integer") as i32).collect()
}

/// The integers of a JSON array of arrays.
pub fn rows(value: &Value) -> Vec<Vec<i32>> {
    value.as_array().expect("rows").iter().map(list).collect()
}

/// ‖a − b‖ / ‖b‖.
pub fn relative_error(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |v: f64| v * v;
    let error: f64 = a.iter().zip(b).map(|(x, y)| square(f64::from(*x) - f64::from(*y))).sum();
    let norm: f64 = b.iter().map(|y| square(f64::from(*y))).sum();
    (error / norm).sqrt()
}
