//! Finds model directories: `--model`, else `$SIDEMAN_MODEL`, else the house model in the folder `models` of
//! the repository in which the program was built, else in the user's data folder.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use sideman_engine::model::ModelDir;

use crate::folders;

/// Name of the default model.
const DEFAULT_MODEL: &str = "house";

/// A path in each of the four folders above the program. For target/release/sideman one of them is the
/// repository.
fn above_program(what: &str) -> Vec<PathBuf> {
    let program = std::env::current_exe().and_then(std::fs::canonicalize).unwrap_or_default();
    program.ancestors().skip(1).take(4).map(|dir| dir.join(what)).collect()
}

/// A file of the repository in which the program was built, if it is there.
pub fn repository_file(what: &str) -> Option<PathBuf> {
    above_program(what).into_iter().find(|path| path.is_file())
}

/// The existing folders of models, in the order in which they are searched.
pub fn search_dirs() -> Vec<PathBuf> {
    let repository = above_program("models").into_iter();
    repository.chain(folders::models()).filter(|dir| dir.is_dir()).collect()
}

/// The installed model directories, by search folder and name.
pub fn installed() -> Vec<PathBuf> {
    let mut all = Vec::new();
    for dir in search_dirs() {
        let mut here: Vec<PathBuf> = std::fs::read_dir(&dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .filter(|p| p.join("config.json").is_file())
            .collect();
        here.sort();
        all.extend(here);
    }
    all
}

/// The folder of the house model, if it has a separator.
pub fn house_separator() -> Option<PathBuf> {
    search_dirs().into_iter().map(|dir| dir.join(DEFAULT_MODEL)).find(|dir| dir.join("separator.json").is_file())
}

/// What a model directory is, for those who named something else.
const WHAT_A_MODEL_IS: &str = "a model is a folder with config.json and weights, such as models/house (`sideman model list` shows those \
                               that are installed, `sideman model import` makes one of a published checkpoint)";

/// Opens the model directory that `flag` (`--model`) or the defaults name.
///
/// # Errors
/// There is none, or it is not a model.
pub fn open(flag: Option<&Path>) -> Result<ModelDir> {
    let variable = std::env::var_os("SIDEMAN_MODEL").filter(|path| !path.is_empty());
    let (given_by, path) = match (flag, variable) {
        (Some(path), _) => ("--model ", path.to_owned()),
        (None, Some(path)) => ("SIDEMAN_MODEL=", PathBuf::from(path)),
        (None, None) => ("", default()?),
    };
    if !path.join("config.json").exists() {
        let what = if path.is_dir() { "this folder has no config.json" } else { "there is no such folder" };
        return Err(anyhow!("{given_by}{}: {what}; {WHAT_A_MODEL_IS}", path.display()));
    }
    Ok(ModelDir::open(&path)?)
}

/// The house model.
fn default() -> Result<PathBuf> {
    let mut places = search_dirs().into_iter().map(|dir| dir.join(DEFAULT_MODEL));
    places.find(|dir| dir.join("config.json").is_file()).ok_or_else(|| {
        anyhow!(
            "no model found: models/house is neither in this program's repository nor in your data folder; give a model directory with \
             --model DIR or in $SIDEMAN_MODEL"
        )
    })
}
