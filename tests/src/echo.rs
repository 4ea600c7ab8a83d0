//! A model that repeats what it hears: the house model's bass codec for all stems, and a language model that
//! copies the codes of the input stem. Its output shows when the input was heard.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::codecs::{Named, save};
use crate::rng::Rng;

const STEMS: [&str; 3] = ["bass", "drums", "other"];
const DIM: usize = 256;

/// Writes the model directory `dir`: bass, drums and other, two codebooks each. The codes of the bass in
/// frame t are those of the others in frame t + lag + 1, the first one that can depend on them.
pub fn write(dir: &Path) -> PathBuf {
    let house = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/house");
    let read = std::fs::read(house.join("config.json")).expect("the house model");
    let mut config: Value = serde_json::from_slice(&read).expect("json");
    let bass = config["codecs"]["bass"].clone();
    let (card, books) = (1024, 2);
    let stream = |stem: &str, level: usize| json!({"stem": stem, "level": level, "delay": level, "card": card});
    config["name"] = json!("echo");
    config["streams"] = STEMS.iter().flat_map(|stem| (0..books).map(move |q| stream(stem, q))).collect();
    config["lm"] = json!({"dim": DIM, "layers": 1, "heads": 4, "ffn": DIM, "norm_eps": 1e-5});
    (config["text"], config["controls"]) = (Value::Null, json!([]));
    config["codecs"] = json!({"bass": bass, "drums": bass, "other": bass});
    std::fs::create_dir_all(dir).expect("a folder");
    std::fs::write(dir.join("config.json"), config.to_string()).expect("written");
    for stem in STEMS {
        std::fs::copy(house.join("codec.bass.safetensors"), dir.join(format!("codec.{stem}.safetensors"))).expect("copied");
    }
    let mut lm = Named::new();
    let mut noise = Rng(1);
    for q in 0..books {
        // The embedding of a code is the weight of its logit. Embeddings of the other stems are zero.
        let codes = noise.values(card * DIM, 1.0);
        let special = vec![0.0; DIM];
        lm.insert(format!("emb.{q}.weight"), (vec![card + 1, DIM], codes.iter().map(|x| 20.0 * x).chain(special).collect()));
        lm.insert(format!("linears.{q}.weight"), (vec![card, DIM], vec![0.0; card * DIM]));
        for stem in 1..STEMS.len() {
            let k = stem * books + q;
            lm.insert(format!("emb.{k}.weight"), (vec![card + 1, DIM], vec![0.0; (card + 1) * DIM]));
            lm.insert(format!("linears.{k}.weight"), (vec![card, DIM], codes.clone()));
        }
    }
    let layer = "transformer.layers.0";
    for (name, rows) in [
        ("self_attn.in_proj_weight", 3 * DIM),
        ("self_attn.out_proj.weight", DIM),
        ("linear1.weight", DIM),
        ("linear2.weight", DIM),
    ] {
        lm.insert(format!("{layer}.{name}"), (vec![rows, DIM], vec![0.0; rows * DIM]));
    }
    for norm in [format!("{layer}.norm1"), format!("{layer}.norm2"), "out_norm".into()] {
        lm.insert(format!("{norm}.weight"), (vec![DIM], vec![1.0; DIM]));
        lm.insert(format!("{norm}.bias"), (vec![DIM], vec![0.0; DIM]));
    }
    save(&dir.join("lm.safetensors"), &lm);
    dir.to_owned()
}
