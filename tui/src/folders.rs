//! The user's folders for Sideman's settings and models: by default ~/.config/sideman and
//! ~/.local/share/sideman.

use std::path::PathBuf;

use etcetera::{BaseStrategy, choose_base_strategy};

/// A file in the configuration folder, which need not exist. `None`: the user has no home folder.
pub fn config_file(name: &str) -> Option<PathBuf> {
    Some(choose_base_strategy().ok()?.config_dir().join("sideman").join(name))
}

/// The folder of the user's models, which need not exist. `None`: the user has no home folder.
pub fn models() -> Option<PathBuf> {
    Some(choose_base_strategy().ok()?.data_dir().join("sideman/models"))
}
