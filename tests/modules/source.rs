//! Reading Rust source well enough for the rules: words and signs without comments, texts and tests.
use std::fs;

use walkdir::WalkDir;

/// One source file without its tests.
pub struct File {
    /// The path below `src`.
    pub path: String,
    /// The module that the file is, without `crate`.
    pub module: Vec<String>,
    /// The number of lines without those of `#[cfg(test)]` modules.
    pub lines: usize,
    tokens: Vec<String>,
}

/// All files below `src` that are part of the program; files with tests only are left out.
pub fn tree() -> Vec<File> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let mut files = vec![];
    for entry in WalkDir::new(root).sort_by_file_name() {
        let entry = entry.expect("the source can be read");
        let path = entry.path();
        let below = path
            .strip_prefix(root)
            .expect("it is below")
            .to_string_lossy()
            .into_owned();
        let is_test = below.ends_with("tests.rs") || below.contains("/tests/");
        if path.extension().is_some_and(|e| e == "rs") && !is_test {
            files.push(File::new(
                &below,
                &fs::read_to_string(path).expect("it can be read"),
            ));
        }
    }
    assert!(files.len() > 10, "the source is somewhere else");
    files
}

impl File {
    pub fn new(path: &str, text: &str) -> Self {
        let blank = without_comments_and_texts(text);
        let code = without_tests(&blank);
        let stem = path.trim_end_matches(".rs");
        let mut module: Vec<String> = stem.split('/').map(str::to_owned).collect();
        if module
            .last()
            .is_some_and(|last| last == "mod" || last == "lib")
        {
            module.pop();
        }
        let kept = text.lines().count() + code.lines().count() - blank.lines().count();
        Self {
            path: path.to_owned(),
            module,
            lines: kept,
            tokens: tokens(&code),
        }
    }

    /// The identifiers.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.tokens
            .iter()
            .map(String::as_str)
            .filter(|token| is_word(token))
    }

    /// Whether these tokens follow each other somewhere.
    pub fn has_sequence(&self, wanted: &[&str]) -> bool {
        self.tokens
            .windows(wanted.len())
            .any(|window| window == wanted)
    }

    /// Every path into this crate, from its root.
    pub fn imports(&self) -> Vec<Vec<String>> {
        let mut found = vec![];
        let mut index = 0;
        while index < self.tokens.len() {
            let follows = index > 0 && self.tokens[index - 1] == "::";
            if !follows && ["crate", "super", "hera"].contains(&self.tokens[index].as_str()) {
                self.path_at(&mut index, &[], &mut found);
            } else {
                index += 1;
            }
        }
        found
            .into_iter()
            .filter_map(|path| self.resolved(&path))
            .collect()
    }

    /// Reads one path, with its groups, from `index` on.
    fn path_at(&self, index: &mut usize, before: &[String], found: &mut Vec<Vec<String>>) {
        let mut path = before.to_vec();
        loop {
            match self.tokens.get(*index).map(String::as_str) {
                Some("{") => {
                    *index += 1;
                    while self.tokens.get(*index).is_some_and(|token| token != "}") {
                        if self.tokens[*index] == "," || self.tokens[*index] == "as" {
                            *index += 1;
                        } else {
                            let start = *index;
                            self.path_at(index, &path, found);
                            *index = (*index).max(start + 1);
                        }
                    }
                    *index += 1;
                    return;
                }
                Some(word) if is_word(word) => {
                    path.push(word.to_owned());
                    *index += 1;
                    if self.tokens.get(*index).is_some_and(|token| token == "::") {
                        *index += 1;
                        continue;
                    }
                    break;
                }
                _ => break,
            }
        }
        found.push(path);
    }

    /// A path from the root of the crate; `None` when it is `crate` in `pub(crate)`.
    fn resolved(&self, path: &[String]) -> Option<Vec<String>> {
        let mut from = match path.first()?.as_str() {
            "crate" | "hera" => vec![],
            _ => self.module.clone(),
        };
        let mut rest = path;
        while let Some((first, more)) = rest.split_first() {
            match first.as_str() {
                "super" => {
                    from.pop();
                }
                "crate" | "hera" | "self" => {}
                _ => break,
            }
            rest = more;
        }
        from.extend(rest.iter().cloned());
        (path.len() > 1 && !from.is_empty()).then_some(from)
    }
}

fn is_word(token: &str) -> bool {
    token
        .chars()
        .next()
        .is_some_and(|c| c.is_alphabetic() || c == '_')
}

fn tokens(code: &str) -> Vec<String> {
    let mut tokens = vec![];
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    tokens
}

/// The text with comments and the content of string literals blanked out; line ends stay.
fn without_comments_and_texts(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    while i < chars.len() {
        let word_before = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
        if at(i) == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if at(i) == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            while i < chars.len() {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    ('\n', _) => {
                        out.push('\n');
                        i += 1;
                    }
                    _ => i += 1,
                }
                if depth == 0 {
                    break;
                }
            }
        } else if at(i) == 'r'
            && !word_before
            && (at(i + 1) == '"' || at(i + 1) == '#' && "#\"".contains(at(i + 2)))
        {
            let hashes = (i + 1..chars.len()).take_while(|j| at(*j) == '#').count();
            i += 2 + hashes;
            while i < chars.len() && !(at(i) == '"' && (1..=hashes).all(|j| at(i + j) == '#')) {
                if at(i) == '\n' {
                    out.push('\n');
                }
                i += 1;
            }
            i += 1 + hashes;
            out.push('0');
        } else if at(i) == '"' {
            i += 1;
            while i < chars.len() && at(i) != '"' {
                if at(i) == '\n' {
                    out.push('\n');
                }
                i += if at(i) == '\\' && at(i + 1) != '\n' {
                    2
                } else {
                    1
                };
            }
            i += 1;
            out.push('0');
        } else if at(i) == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            // A character literal; a lifetime has no second quote.
            i += if at(i + 1) == '\\' { 3 } else { 2 };
            while i < chars.len() && at(i) != '\'' {
                i += 1;
            }
            i += 1;
            out.push('0');
        } else {
            out.push(at(i));
            i += 1;
        }
    }
    out
}

/// The code without the items that are compiled for tests only.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(start) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = match (rest.find('{'), rest.find(';')) {
            (Some(open), semicolon) if semicolon.is_none_or(|s| open < s) => {
                let mut depth = 0_usize;
                rest[open..]
                    .char_indices()
                    .find(|(_, c)| {
                        match c {
                            '{' => depth += 1,
                            '}' => depth -= 1,
                            _ => {}
                        }
                        depth == 0
                    })
                    .map_or(rest.len(), |(close, _)| open + close + 1)
            }
            (_, Some(semicolon)) => semicolon + 1,
            _ => rest.len(),
        };
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}
