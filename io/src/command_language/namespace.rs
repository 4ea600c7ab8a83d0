//! The addresses of all commands, for the stems of one model.

use std::collections::BTreeMap;

use sideman_engine::live::Which;
use sideman_engine::live::commands::CommandKind;

use super::Pattern;

/// The name in an address that means all stems.
pub const ALL: &str = "all";

/// What an address means.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: CommandKind,
    /// Of an alias: the address that replaced it.
    alias_of: Option<String>,
}

/// The addresses of all commands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespace {
    stems: Vec<String>,
    addresses: BTreeMap<String, Entry>,
}

impl Namespace {
    /// The addresses for a model's stems, in its order.
    pub fn new(stems: &[&str]) -> Namespace {
        let stems: Vec<String> = stems.iter().map(|s| (*s).to_owned()).collect();
        let mut addresses = BTreeMap::new();
        for &kind in CommandKind::ALL {
            let Some(address) = kind.spec().address else { continue };
            let concrete = expand(address.path, &stems);
            for alias in address.aliases {
                let old = expand(alias, &stems).into_iter().zip(&concrete);
                addresses.extend(old.map(|(old, new)| (old, Entry { kind, alias_of: Some(new.clone()) })));
            }
            addresses.extend(concrete.into_iter().map(|new| (new, Entry { kind, alias_of: None })));
        }
        Namespace { stems, addresses }
    }

    /// Names of the stems, in the model's order.
    pub fn stems(&self) -> &[String] {
        &self.stems
    }

    /// The command of an address or of its alias.
    pub fn get(&self, address: &str) -> Option<CommandKind> {
        self.addresses.get(address).map(|entry| entry.kind)
    }

    /// An address or alias as the namespace has it, with its command.
    pub(super) fn get_key(&self, address: &str) -> Option<(&str, CommandKind)> {
        self.addresses.get_key_value(address).map(|(address, entry)| (address.as_str(), entry.kind))
    }

    /// The addresses that a pattern matches, with their commands. `all` is not among them: a pattern matches each stem by itself. An
    /// alias is among them only if the pattern does not match the address that replaced it.
    pub fn find(&self, pattern: &Pattern) -> Vec<(&str, CommandKind)> {
        let found = self.addresses.iter().filter(|(address, entry)| {
            let replaced = entry.alias_of.as_ref().is_some_and(|new| pattern.matches(new));
            !is_all(address) && !replaced && pattern.matches(address)
        });
        found.map(|(address, entry)| (address.as_str(), entry.kind)).collect()
    }

    /// Aliases, each with the address that replaced it.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, &str)> {
        self.addresses.iter().filter_map(|(old, entry)| Some((old.as_str(), entry.alias_of.as_deref()?)))
    }

    /// The index of a stem.
    pub fn stem(&self, name: &str) -> Option<u8> {
        self.stems.iter().position(|s| s == name).and_then(|at| u8::try_from(at).ok())
    }

    /// The name of a stem.
    pub fn stem_name(&self, stem: u8) -> Option<&str> {
        self.stems.get(usize::from(stem)).map(String::as_str)
    }

    /// A stem or all stems, by name.
    pub fn which(&self, name: &str) -> Option<Which> {
        if name == ALL { Some(Which::All) } else { self.stem(name).map(Which::One) }
    }
}

/// Whether an address means all stems.
pub fn is_all(address: &str) -> bool {
    address.split('/').any(|part| part == ALL)
}

/// The addresses that a path of the table means: `S` is each stem and `all`, `N` is 1 to 4.
pub fn expand(path: &str, stems: &[String]) -> Vec<String> {
    if path.contains("/S") {
        stems.iter().map(String::as_str).chain([ALL]).map(|stem| path.replacen("/S", &format!("/{stem}"), 1)).collect()
    } else if path.contains("/N") {
        (1..=4).map(|n| path.replacen("/N", &format!("/{n}"), 1)).collect()
    } else {
        vec![path.to_owned()]
    }
}
