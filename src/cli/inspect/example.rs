//! A command that asks a served model for a prediction, to be copied from the terminal.

use std::path::Path;

use serde_json::value::RawValue;

use crate::{
    cli::{
        candidate::VersionFiles,
        inspect::text::predict_path,
        page::{block_width, count, fill},
    },
    serving::served_model::ServedModel,
};

/// An example longer than this is no longer one to copy from a terminal.
const MAX_EXAMPLE_BYTES: usize = 2000;

/// Writes a command that works when it is pasted, for a server on its usual port.
pub(super) fn command(repository: &Path, files: &VersionFiles, model: &ServedModel) -> Vec<String> {
    let url = format!("localhost:8000{}", predict_path(model.name.as_str(), files));
    let Some(body) = model.example.as_deref().map(RawValue::get) else {
        return vec!["the inputs are too large to show".to_owned()];
    };
    if body.len() <= MAX_EXAMPLE_BYTES {
        return curl(&url, body);
    }
    let (repository, version) = (shell_quoted(&repository.to_string_lossy()), model.version);
    vec![
        format!("onnxd inspect {repository} --model {} --json |", model.name),
        format!("jq '.[] | select(.version == \"{version}\") | .example' |"),
        format!("curl {url} -d @-   # {}", count(body.len(), "byte")),
    ]
}

/// Writes a call of curl, wrapped where the shell keeps blanks in its quotes and JSON passes over them.
fn curl(url: &str, body: &str) -> Vec<String> {
    let pieces: Vec<_> = json_pieces(body).iter().map(|piece| piece.replace('\'', r"'\''")).collect();
    let command = format!("curl {url} -d '");
    let on_one_line = format!("{command}{}'", pieces.join(" "));
    if on_one_line.chars().count() <= block_width() {
        return vec![on_one_line];
    }
    let mut lines = fill(pieces.iter().map(String::as_str), block_width() - 1);
    if let Some(last) = lines.last_mut() {
        last.push('\'');
    }
    lines.insert(0, command);
    lines
}

/// Cuts JSON after its commas, and drops the blanks between its tokens.
fn json_pieces(json: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        if !in_string && character.is_ascii_whitespace() {
            continue;
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(character);
        }
        if !in_string && character == ',' {
            pieces.push(String::new());
        }
        in_string ^= character == '"' && !escaped;
        escaped = in_string && character == '\\' && !escaped;
    }
    pieces
}

fn shell_quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    match text.chars().all(is_plain) && !text.is_empty() {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_example_is_the_same_json_and_one_shell_word() {
        let body = r#"{"features": {"a": "it's, \"so\", \\", "b": [1, 2]},
            "c": null}"#;
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let command = curl("localhost:8000/predict", body).join("\n   ");
        let quoted = command.strip_prefix("curl localhost:8000/predict -d '").unwrap().strip_suffix('\'').unwrap();
        assert_eq!(value(&quoted.replace(r"'\''", "'")), value(body));
    }

    #[test]
    fn a_short_example_is_one_line_and_a_long_one_is_wrapped() {
        let short = curl("localhost:8000/predict", "[1,\n 2]");
        assert_eq!(short, ["curl localhost:8000/predict -d '[1, 2]'"]);
        let long = format!("[{}]", vec!["0.25"; 64].join(","));
        let lines = curl("localhost:8000/predict", &long);
        assert!(lines.len() > 3 && lines.iter().all(|line| line.len() <= block_width()), "{lines:?}");
    }

    #[test]
    fn paths_are_quoted_where_the_shell_would_take_them_apart() {
        assert_eq!(shell_quoted("models/iris"), "models/iris");
        assert_eq!(shell_quoted("my models"), "'my models'");
        assert_eq!(shell_quoted("it's"), r"'it'\''s'");
    }
}
