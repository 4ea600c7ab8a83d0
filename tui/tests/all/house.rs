//! The house model's weights in the repository, compared with the code that trained them.

use std::path::Path;
use std::process::Command;

#[test]
fn the_house_model_computes_the_numbers_of_its_training_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let golden = root.join("tests/golden/models-house.golden.safetensors");
    let out = Command::new(env!("CARGO_BIN_EXE_sideman"))
        .args(["model", "verify"])
        .arg(root.join("models/house"))
        .arg("--golden")
        .arg(golden)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    for part in ["text.hidden", "lm.logits", "codec.bass.codes", "codec.drums.decoded", "codec.other.decoded"] {
        assert!(said.contains(part), "{part} was not compared: {said}");
    }
}
