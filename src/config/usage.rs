//! The grammar of the command line, its help, and what is said when it is broken.

use std::{
    error::Error as _,
    ffi::{OsStr, OsString},
};

use clap::{
    CommandFactory, FromArgMatches,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::config::{
    commands::Cli,
    environment::{is_set, variable},
};

/// Why there is no command to run.
#[derive(Debug)]
pub enum ParseOutcome {
    /// Help or the version was asked for: `print` writes it to stdout.
    Answer(clap::Error),
    /// No command was given: `print` writes the help to stderr.
    NoCommand(clap::Error),
    /// A setting is wrong: one line that names it, what was expected and what came.
    Usage(String),
}

const EXAMPLES: &str = r#"Examples:
  onnxd serve                          serve the models in ./models on port 8000
  curl localhost:8000/models/iris/predict -d '{"features": [5.1, 3.5, 1.4, 0.2]}'
  onnxd serve wine.onnx --port 9000    serve one file; POST /predict needs no name then
  onnxd inspect wine.onnx              what a model takes and answers
  onnxd check models                   for CI: load, warm up, run golden cases; exits 0 or 1
  onnxd doctor                         CPUs, threads, ONNX Runtime; warns of what is wrong
  onnxd healthcheck                    is the server of this machine ready? exits 0 or 1
  onnxd bench wine.onnx -c 1,8,32      requests a second and latencies, beside the raw runtime"#;

/// Parses a command line, the name of the program first.
pub(super) fn parse_from(arguments: &[OsString]) -> Result<Cli, ParseOutcome> {
    let command = command();
    let matches = command.clone().try_get_matches_from(arguments);
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    cli.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ParseOutcome::Answer(error),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => ParseOutcome::NoCommand(error),
        _ => ParseOutcome::Usage(usage_line(&error, &command, arguments)),
    })
}

fn command() -> clap::Command {
    let command = Cli::command();
    let settings = settings_table(&command);
    let without_empty_variable = |arg: clap::Arg| match arg.get_env() {
        // Only what is set is taken away: the help goes on naming the others.
        Some(name) if is_set(name) && variable(name).is_none() => arg.env(Resettable::Reset),
        _ => arg,
    };
    // `-1s` is then a value, and refused with what was expected of it.
    let with_hyphen_values = |arg: clap::Arg| match arg.is_positional() || !arg.get_action().takes_values() {
        true => arg,
        false => arg.allow_hyphen_values(true),
    };
    // A line for each request would be measured along with it.
    let quiet = |command: clap::Command| {
        command.mut_arg("level", |arg| arg.default_value("warn")).mut_arg("access_log", |arg| arg.default_value("off"))
    };
    let command = command.mut_subcommand("bench", quiet);
    command.after_help(EXAMPLES).after_long_help(format!("{EXAMPLES}\n\n{settings}")).mut_subcommands(|command| {
        command.mut_args(|arg| with_hyphen_values(without_empty_variable(arg)).hide_env_values(true))
    })
}

/// Writes the settings of `serve` as a table of flag, variable and default.
fn settings_table(command: &clap::Command) -> String {
    let mut table = "Settings of serve, for which onnxd serve --help has more. \
                     A flag wins over its variable:"
        .to_owned();
    let serve = command.find_subcommand("serve");
    for arg in serve.into_iter().flat_map(clap::Command::get_arguments) {
        if let Some(variable) = arg.get_env() {
            let default = arg.get_default_values().join(OsStr::new(","));
            let value = arg.get_value_names().unwrap_or_default().join(" ");
            let flag = match arg.get_long() {
                Some(long) => format!("--{long} <{value}>"),
                None => format!("[{value}]"),
            };
            let variable = variable.to_string_lossy();
            let line = format!("  {flag:<30} {variable:<24} {}", default.to_string_lossy());
            table.push('\n');
            table.push_str(line.trim_end());
        }
    }
    table
}

/// Says in one line what is wrong with the command line or the environment.
fn usage_line(error: &clap::Error, command: &clap::Command, arguments: &[OsString]) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(" or ")),
        _ => None,
    };
    let expected = match error.kind() {
        ErrorKind::ValueValidation => error.source().map(ToString::to_string),
        ErrorKind::InvalidValue => context(ContextKind::ValidValue).filter(|names| !names.is_empty()),
        _ => None,
    };
    let value = context(ContextKind::InvalidValue).filter(|value| !value.is_empty());
    match (context(ContextKind::InvalidArg), expected, value) {
        (Some(argument), Some(expected), Some(value)) => {
            let name = setting_name(&argument, command, arguments, |name| variable(name).is_some());
            format!("{name}: expected {expected}, got {value:?}")
        }
        _ => format!("{}; see onnxd --help", one_line(&error.render().to_string())),
    }
}

/// Joins what clap says in paragraphs, without its usage and its reference to the help.
fn one_line(message: &str) -> String {
    let is_content = |text: &&str| !text.starts_with("Usage:") && !text.starts_with("For more");
    let paragraphs = message.trim_start_matches("error: ").split("\n\n").filter(is_content);
    let sentences = paragraphs.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    sentences.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ").replace(char::is_control, "?")
}

/// Names the setting that clap displays as `argument`: its variable, where the value came from there.
fn setting_name(
    argument: &str,
    command: &clap::Command,
    arguments: &[OsString],
    is_set: impl Fn(&OsStr) -> bool,
) -> String {
    let flag = argument.split_whitespace().next().unwrap_or(argument);
    let mut known = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let is_named = |arg: &&clap::Arg| arg.get_long().is_some() && arg.get_long() == flag.strip_prefix("--");
    let variable = known.find(is_named).and_then(clap::Arg::get_env);
    let is_flag_given = arguments.iter().any(|given| {
        let given = given.to_string_lossy();
        given == flag || given.strip_prefix(flag).is_some_and(|rest| rest.starts_with('='))
    });
    match variable {
        Some(name) if is_set(name) && !is_flag_given => {
            format!("environment variable {}", name.to_string_lossy())
        }
        _ => flag.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::*;
    use crate::config::{Command, EngineCommand, LogFormat, ServerConfig};

    fn parse_line(line: &str) -> Result<Cli, ParseOutcome> {
        parse_from(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    fn usage_of(line: &str) -> String {
        match parse_line(line) {
            Err(ParseOutcome::Usage(line)) => line,
            other => panic!("expected a usage error, got {other:?}"),
        }
    }

    fn serve(line: &str) -> ServerConfig {
        match parse_line(line).map(|cli| cli.command) {
            Ok(Command::WithEngine(EngineCommand::Serve(config))) => *config,
            other => panic!("expected serve, got {other:?}"),
        }
    }

    #[test]
    fn the_grammar_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn flags_set_what_they_name() {
        let config = serve(
            "onnxd serve dir --host [::1] --port 0 --max-body-bytes 2MiB --request-timeout 500ms --access-log off \
             --cors-allow-origin https://a.example,http://b:3000 --http-threads 3 --log-format JSON",
        );
        assert_eq!(config.model_path, Path::new("dir"));
        assert_eq!(config.http.address(), ("::1", 0));
        assert_eq!(config.http.threads, Some(3));
        assert_eq!(config.http.cors_allow_origin, ["https://a.example", "http://b:3000"]);
        assert_eq!(config.limits.max_body_bytes, 2 << 20);
        assert_eq!(config.limits.request_timeout, Duration::from_millis(500));
        assert_eq!(config.log.format, Some(LogFormat::Json));
        assert!(!config.log.access_log);
    }

    #[test]
    fn a_wrong_setting_is_one_line_that_names_it() {
        let cases = [
            ("serve --port 70000", r#"--port: expected a port from 0 to 65535, got "70000""#),
            ("serve --log-format xml", r#"--log-format: expected text or json, got "xml""#),
            ("serve --access-log=maybe", r#"--access-log: expected on or off, got "maybe""#),
            (
                "serve --request-timeout=-5s",
                r#"--request-timeout: expected a duration from 1ms to 24h, such as 500ms, 30s or 2m, got "-5s""#,
            ),
            (
                "serve --keep-alive -1s",
                r#"--keep-alive: expected a duration from 1ms to 24h, such as 500ms, 30s or 2m, got "-1s""#,
            ),
            ("doctor --port -1", r#"--port: expected a port from 0 to 65535, got "-1""#),
            (
                "serve --prot 1",
                "unexpected argument '--prot' found; tip: a similar argument exists: '--port'; see onnxd --help",
            ),
            ("serve --port", "a value is required for '--port <PORT>' but none was supplied; see onnxd --help"),
            (
                "bench h:1 -n 1 -d 1s",
                "the argument '--requests <COUNT>' cannot be used with '--duration <DURATION>'; see onnxd --help",
            ),
            ("bench h:1 -c 1,x", r#"--connections: expected a number from 1 to 1000000, got "x""#),
            ("inspect", "the following required arguments were not provided: <PATH>; see onnxd --help"),
            ("serv", "unrecognized subcommand 'serv'; tip: a similar subcommand exists: 'serve'; see onnxd --help"),
        ];
        for (line, expected) in cases {
            assert_eq!(usage_of(&format!("onnxd {line}")), expected, "{line}");
        }
    }

    #[test]
    fn bench_is_quiet_unless_asked_and_has_the_connections_its_loop_needs() {
        let bench = |line: &str| match parse_line(line).map(|cli| cli.command) {
            Ok(Command::WithEngine(EngineCommand::Bench(settings))) => *settings,
            other => panic!("expected bench, got {other:?}"),
        };
        let quiet = bench("onnxd bench h:1");
        assert_eq!((quiet.log.level.as_str(), quiet.log.access_log), ("warn", false));
        assert!(bench("onnxd bench h:1 --access-log on").log.access_log);
        assert_eq!(quiet.connections(), [8]);
        assert_eq!(bench("onnxd bench h:1 --rate 5").connections(), [128]);
        assert_eq!(bench("onnxd bench h:1 -c 1,8").connections(), [1, 8]);
        assert_eq!((quiet.raw_path(), bench("onnxd bench dir").raw_path().is_some()), (None, true));
    }

    #[test]
    fn a_value_from_the_environment_is_blamed_on_its_variable() {
        let name = |line: &str, is_set: bool| {
            let arguments: Vec<_> = line.split_whitespace().map(OsString::from).collect();
            setting_name("--port <PORT>", &command(), &arguments, |_| is_set)
        };
        assert_eq!(name("onnxd serve", true), "environment variable PORT");
        assert_eq!(name("onnxd serve --port=x", true), "--port");
        assert_eq!(name("onnxd serve --port x", true), "--port");
        assert_eq!(name("onnxd serve --port x", false), "--port");
    }

    #[test]
    fn every_option_with_a_value_leaves_it_to_its_parser() {
        for command in command().get_subcommands() {
            let options = command.get_arguments().filter(|arg| arg.get_long().is_some());
            for option in options.filter(|arg| arg.get_action().takes_values()) {
                assert!(option.is_allow_hyphen_values_set(), "{} {option}", command.get_name());
            }
        }
    }

    #[test]
    fn the_example_names_the_model_where_there_may_be_several() {
        assert!(EXAMPLES.contains("localhost:8000/models/iris/predict") && !EXAMPLES.contains(":8000/predict"));
    }

    #[test]
    fn help_and_version_are_answers_and_no_command_is_not() {
        assert!(matches!(parse_line("onnxd --version"), Err(ParseOutcome::Answer(_))));
        assert!(matches!(parse_line("onnxd serve --help"), Err(ParseOutcome::Answer(_))));
        assert!(matches!(parse_line("onnxd"), Err(ParseOutcome::NoCommand(_))));
    }

    #[test]
    fn the_help_names_every_variable() {
        let mut with_help = command();
        let help = with_help.render_long_help().to_string();
        let serve = command().find_subcommand("serve").cloned().expect("serve is a command");
        for name in serve.get_arguments().filter_map(clap::Arg::get_env) {
            assert!(help.contains(&*name.to_string_lossy()), "{name:?} is missing in:\n{help}");
        }
    }
}
