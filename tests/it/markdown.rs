//! A Markdown page: its fenced blocks, links and headings.

use std::{fs, path::PathBuf};

/// A page.
pub struct Page {
    /// Where it lies.
    pub path: PathBuf,
    /// Its file's name.
    pub name: String,
    /// All of it.
    pub text: String,
    /// Its fenced blocks, in order.
    pub blocks: Vec<Block>,
}

/// A fenced block.
#[derive(Debug, PartialEq)]
pub enum Block {
    /// `sh`: its commands, one a line, continued lines joined.
    Shell(Vec<String>),
    /// `json`.
    Json(String),
    /// `text`.
    Text(String),
    /// Any other, and prose between blocks.
    Other,
}

impl Page {
    /// Reads a page.
    pub fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        Self { blocks: blocks(&text), path, name, text }
    }

    /// Returns the answer that directly follows a shell block, if one does.
    pub fn answer_to(&self, block: &Block) -> Option<&Block> {
        let position = self.blocks.iter().position(|other| std::ptr::eq(other, block))?;
        self.blocks.get(position + 1).filter(|next| matches!(next, Block::Json(_) | Block::Text(_)))
    }

    /// Returns the targets of the links that stay inside the repository.
    pub fn links(&self) -> impl Iterator<Item = &str> {
        let targets = self.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        targets.filter(|target| !target.contains("://"))
    }

    /// Returns the names by which links reach the page's headings.
    pub fn headings(&self) -> impl Iterator<Item = String> {
        let headings = self.text.lines().filter(|line| line.starts_with('#'));
        headings.map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
    }
}

/// Splits a page into its blocks. Prose between two blocks is a block [`Block::Other`] of its own.
fn blocks(text: &str) -> Vec<Block> {
    let mut parts = text.split("```");
    let mut blocks = Vec::new();
    while let Some(prose) = parts.next() {
        if !prose.trim().is_empty() {
            blocks.push(Block::Other);
        }
        let Some((language, content)) = parts.next().and_then(|fenced| fenced.split_once('\n')) else { continue };
        blocks.push(match language {
            "sh" => Block::Shell(commands(content)),
            "json" => Block::Json(content.to_owned()),
            "text" => Block::Text(content.to_owned()),
            _ => Block::Other,
        });
    }
    blocks
}

fn commands(content: &str) -> Vec<String> {
    let lines = content.replace("\\\n", " ");
    lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn an_answer_follows_its_command_directly() {
    let text = "Prose.\n\n```sh\ncurl a \\\n  b\n# a remark\ncurl c   # why\n```\n```json\n{}\n```\n\nProse.\n\n```sh\nx\n```\n\nHere:\n\n```text\ny\n```\n";
    let page = Page { path: PathBuf::new(), name: String::new(), text: text.to_owned(), blocks: blocks(text) };
    let shells: Vec<&Block> = page.blocks.iter().filter(|block| matches!(block, Block::Shell(_))).collect();
    assert_eq!(*shells[0], Block::Shell(vec!["curl a    b".to_owned(), "curl c   # why".to_owned()]));
    assert_eq!(page.answer_to(shells[0]), Some(&Block::Json("{}\n".to_owned())));
    assert_eq!(page.answer_to(shells[1]), None);
}
