//! Imports run one way: between files, and between the folders and files of each folder. Tests may import what they like.

use std::collections::{BTreeMap, BTreeSet};

use crate::house::{Source, sources};

/// Which file (or folder) imports which.
type Arrows = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_file_imports_itself_by_way_of_others() {
    let offender = [
        source("a/one.rs", "use crate::a::{two::Two, three::{self, X}};"),
        source("a/three.rs", ""),
        source("a/two.rs", "fn f() { crate::a::one::f(); }"),
    ];
    assert_eq!(circle(arrows_of(&offender)), ["a/one.rs", "a/two.rs"]);
    let tests_only = [
        source("a/one.rs", "use crate::a::two::T;"),
        source("a/two.rs", "#[cfg(test)]\nmod tests {\n    use crate::a::one::f;\n}"),
    ];
    assert_eq!(circle(arrows_of(&tests_only)), [""; 0]);

    let sources = sources();
    assert!(arrows_of(&sources).len() > 100, "the files import less than they do");
    assert_eq!(circle(arrows_of(&sources)), [""; 0]);
}

#[test]
fn no_folder_imports_itself_by_way_of_its_neighbours() {
    let offender = [
        source("a/b/one.rs", "use crate::a::c::X;"),
        source("a/c.rs", "use crate::a::b::two::Y;"),
        source("a/b/two.rs", ""),
    ];
    assert_eq!(circle(arrows_of(&offender)), [""; 0]);
    assert_eq!(circles_between_neighbours(&offender), ["a/: b, c"]);
    assert_eq!(circles_between_neighbours(&sources()), [""; 0]);
}

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

/// Lists for every folder below `src` those of its entries that import each other in a circle.
fn circles_between_neighbours(sources: &[Source]) -> Vec<String> {
    let files = arrows_of(sources);
    let mut folders: BTreeMap<&str, Arrows> = BTreeMap::new();
    for (from, targets) in &files {
        for to in targets {
            let shared = from.bytes().zip(to.bytes()).take_while(|(from, to)| from == to).count();
            let Some(folder) = from[..shared].rfind('/').map(|end| &from[..=end]) else { continue };
            let entry = |path: &str| path[folder.len()..].split(['/', '.']).next().unwrap_or_default().to_owned();
            let (from, to) = (entry(from), entry(to));
            if from != to {
                folders.entry(folder).or_default().entry(from).or_default().insert(to);
            }
        }
    }
    let circles = folders.into_iter().map(|(folder, arrows)| (folder, circle(arrows)));
    circles
        .filter(|(_, circle)| !circle.is_empty())
        .map(|(folder, circle)| format!("{folder}: {}", circle.join(", ")))
        .collect()
}

/// Takes away what imports nothing and what nothing imports, again and again; what is left stands in circles.
fn circle(mut arrows: Arrows) -> Vec<String> {
    loop {
        let imported: BTreeSet<String> = arrows.values().flatten().cloned().collect();
        let before = arrows.values().map(BTreeSet::len).sum::<usize>();
        arrows.retain(|from, targets| !targets.is_empty() && imported.contains(from));
        let left: BTreeSet<String> = arrows.keys().cloned().collect();
        arrows.values_mut().for_each(|targets| targets.retain(|to| left.contains(to)));
        if arrows.values().map(BTreeSet::len).sum::<usize>() == before {
            return arrows.into_keys().collect();
        }
    }
}

fn arrows_of(sources: &[Source]) -> Arrows {
    let is_test = |path: &str| path.ends_with("tests.rs") || path.ends_with("testing.rs");
    let code: Vec<&Source> =
        sources.iter().filter(|source| !is_test(&source.path) && source.path != "main.rs").collect();
    let modules: BTreeMap<Vec<String>, &str> =
        code.iter().map(|source| (module(&source.path), &*source.path)).collect();
    let mut arrows = Arrows::new();
    for source in &code {
        let text: String = source.code().flat_map(|(_, line)| [line, "\n"]).collect();
        let own = module(&source.path);
        for path in imports(without_tests(&text)) {
            let path = absolute(&own, path);
            let target = (1..=path.len()).rev().find_map(|length| modules.get(&path[..length]));
            if let Some(target) = target.filter(|target| **target != source.path) {
                arrows.entry(source.path.clone()).or_default().insert((*target).to_owned());
            }
        }
    }
    arrows
}

/// The path of a file's module, without `crate`.
fn module(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').filter(|part| *part != "lib").map(str::to_owned).collect()
}

/// Cuts off the module of tests, which stands last in a file.
fn without_tests(text: &str) -> &str {
    let begins =
        |at: &usize| text[*at..].lines().nth(1).is_some_and(|line| line.contains("mod ") && line.ends_with('{'));
    text.match_indices("#[cfg(test)]").map(|(at, _)| at).find(begins).map_or(text, |at| &text[..at])
}

/// Lists the paths that a text imports or names from `crate`, `super` or `self` on.
fn imports(text: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut rest = text;
    while let Some(at) = ["crate::", "super::", "self::"].iter().filter_map(|root| rest.find(root)).min() {
        let is_whole = !rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        rest = match is_whole {
            true => expand(&mut Vec::new(), &rest[at..], &mut paths),
            false => &rest[at + 1..],
        };
    }
    paths
}

/// Reads one path, or a tree of them, from the front of `text`; returns what follows it.
fn expand<'a>(prefix: &mut Vec<String>, text: &'a str, paths: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    let length = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, mut rest) = text.split_at(length);
    if name.is_empty() && rest.starts_with('{') {
        rest = &rest[1..];
        while !rest.trim_start().starts_with('}') && !rest.is_empty() {
            rest = expand(prefix, rest, paths).trim_start();
            // An alias, and the comma.
            rest = rest.split_at(rest.find([',', '}']).unwrap_or(rest.len())).1;
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        return rest.trim_start().get(1..).unwrap_or_default();
    }
    prefix.push(name.to_owned());
    let rest = match rest.strip_prefix("::") {
        Some(inner) => expand(prefix, inner, paths),
        None => {
            paths.push(prefix.clone());
            rest
        }
    };
    prefix.pop();
    rest
}

/// Resolves `crate`, `super` and `self` at the front of a path.
fn absolute(own: &[String], path: Vec<String>) -> Vec<String> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    let base = match path[0].as_str() {
        "crate" => &[][..],
        "self" => own,
        _ => &own[..own.len().saturating_sub(ups)],
    };
    base.iter().cloned().chain(path.into_iter().skip(ups.max(1)).filter(|part| part != "self")).collect()
}
