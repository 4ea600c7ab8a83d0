//! The files below some folders, to see that none changes.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file: time of its last change, and a hash of its contents.
type Stamp = (Option<SystemTime>, u64);

/// Files and folders with their stamps.
#[derive(Debug, Default, PartialEq)]
pub struct Tree(BTreeMap<PathBuf, Stamp>);

impl Tree {
    /// All below `dirs`, which themselves don't count.
    pub fn of(dirs: &[&Path]) -> Tree {
        let mut tree = Tree::default();
        dirs.iter().for_each(|dir| tree.add(dir));
        tree
    }

    fn add(&mut self, dir: &Path) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let (path, meta) = (entry.path(), entry.metadata().expect("a file that stays"));
            if meta.is_dir() {
                self.add(&path);
            }
            let mut hash = DefaultHasher::new();
            if meta.is_file() {
                std::fs::read(&path).expect("a file that stays").hash(&mut hash);
            }
            self.0.insert(path, (meta.modified().ok(), hash.finish()));
        }
    }
}
