//! Finds the file that defines what a path names: follows `use` declarations through other files, so that an import of
//! a re-export leads to the file behind it.

use crate::source::{Crate, Module};

/// What a path leads to.
pub(crate) enum Resolved<'a> {
    /// A module itself.
    Module,
    /// An item that this module defines.
    Item(&'a Module),
    /// Something of another crate.
    Foreign,
}

/// What the path, counted from the crate's root, leads to. A path that leads nowhere (the item of a macro, say) counts
/// as an item of the innermost module on it.
pub(crate) fn resolve<'a>(of: &'a Crate, path: &[String]) -> Resolved<'a> {
    follow(of, path, MOST_STEPS).unwrap_or_else(|| Resolved::Item(of.home(path)))
}

/// The path from the crate's root that `path` means at the place where `module` writes it. `None`: another crate's.
pub(crate) fn absolute(module: &Module, path: &[String]) -> Option<Vec<String>> {
    located(module, path, MOST_STEPS)
}

fn located(module: &Module, path: &[String], steps: usize) -> Option<Vec<String>> {
    let steps = steps.checked_sub(1)?;
    let (first, rest) = path.split_first()?;
    let ups = path.iter().take_while(|name| *name == "super").count();
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([&module.path, rest].concat()),
        "super" => Some([&module.path[..module.path.len().saturating_sub(ups)], &path[ups..]].concat()),
        name if module.has_child(name) || module.defined.iter().any(|defined| defined == name) => {
            Some([&module.path, path].concat())
        }
        name => {
            // `use name::…` of another crate must not lead to itself.
            let used =
                module.uses.iter().find(|used| used.name == name && used.path.first() != Some(first))?;
            Some([located(module, &used.path, steps)?, rest.to_vec()].concat())
        }
    }
}

/// `None`: the path leads nowhere.
fn follow<'a>(of: &'a Crate, path: &[String], steps: usize) -> Option<Resolved<'a>> {
    let steps = steps.checked_sub(1)?;
    let home = of.home(path);
    let Some((name, rest)) = path[home.path.len()..].split_first() else { return Some(Resolved::Module) };
    if home.defined.contains(name) {
        return Some(Resolved::Item(home));
    }
    let mut reachable = home.uses.iter().filter(|used| used.is_item);
    if let Some(used) = reachable.clone().find(|used| used.name == *name) {
        let Some(target) = located(home, &used.path, steps) else { return Some(Resolved::Foreign) };
        return follow(of, &[&target, rest].concat(), steps);
    }
    reachable.find_map(|used| {
        let (star, folder) = used.path.split_last()?;
        let target = if star == "*" { located(home, folder, steps)? } else { return None };
        follow(of, &[&target[..], &path[home.path.len()..]].concat(), steps)
    })
}

/// More `use` declarations than any path leads through; ends the search where two globs import each other.
const MOST_STEPS: usize = 16;
