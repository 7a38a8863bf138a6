//! From arguments and environment to [`Cli`]; from clap's errors to one line.

use std::ffi::{OsStr, OsString};

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::{ArgAction, CommandFactory, FromArgMatches};

use super::args::Cli;
use super::exit::{Exit, Failure};

/// Why there is no verb to run.
#[derive(Debug)]
pub enum Stop {
    /// Help or the version was requested: the text to print.
    Help(String),
    /// There is no verb: the help text, which belongs on standard error.
    NoVerb(String),
    /// The command line is invalid.
    Usage(Failure),
}

/// The clap command. `environment` looks up each `TRACER_<NAME>`; an empty value counts as absent.
pub fn command(environment: impl Fn(&OsStr) -> Option<OsString>) -> clap::Command {
    with_environment(Cli::command(), &environment)
}

/// The verb that ends and removes what other jobs may need, and its options that say what and whether. They
/// are given on the command line alone: a variable that is left from another command must not decide that.
const DESTRUCTIVE: (&str, [&str; 6]) = ("reap", ["yes", "all-mine", "session", "port", "pid", "socket"]);

/// Makes every other option with a long name readable from the environment, so that none can be forgotten.
fn with_environment(
    command: clap::Command,
    environment: &impl Fn(&OsStr) -> Option<OsString>,
) -> clap::Command {
    let verb = command.get_name().to_owned();
    command
        .mut_args(|arg| {
            let Some(long) = arg.get_long().filter(|long| !matches!(*long, "help" | "version")) else {
                return arg;
            };
            if destroys(&verb, long) {
                return arg;
            }
            let name = OsString::from(variable_of(long));
            let arg = match arg.get_action() {
                ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
                _ => arg,
            };
            let empty = environment(&name).is_some_and(|value| value.is_empty());
            if empty { arg } else { arg.env(clap::builder::OsStr::from(name)).hide_env(true) }
        })
        .mut_subcommands(|verb| with_environment(verb, environment))
}

fn destroys(verb: &str, option: &str) -> bool {
    verb == DESTRUCTIVE.0 && DESTRUCTIVE.1.contains(&option)
}

/// Parses the arguments. The first one is the program's name.
pub fn parse(arguments: &[OsString], environment: impl Fn(&OsStr) -> Option<OsString>) -> Result<Cli, Stop> {
    command(&environment)
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| stop(&error, arguments, &environment))
}

/// The argument in the verb's place, valid or not: the first that is no option. No option before it takes a
/// value.
fn verb_of(arguments: &[OsString]) -> Option<&str> {
    arguments.iter().skip(1).filter_map(|word| word.to_str()).find(|word| !word.starts_with('-'))
}

fn stop(
    error: &clap::Error,
    arguments: &[OsString],
    environment: &impl Fn(&OsStr) -> Option<OsString>,
) -> Stop {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match error.kind() {
        DisplayHelp | DisplayVersion => return Stop::Help(error.to_string()),
        DisplayHelpOnMissingArgumentOrSubcommand => return Stop::NoVerb(error.to_string()),
        _ => {}
    }
    let verb = verb_of(arguments);
    // `run` ends as env(1) does, so that its own errors can be distinguished from the job's exit statuses.
    let exit = if verb == Some("run") { Exit::Failed } else { Exit::Usage };
    let known = verb.filter(|verb| Cli::command().find_subcommand(verb).is_some());
    let (place, help) = match known {
        Some(verb) => (format!("{verb}: "), format!("tracer-user {verb} --help")),
        None => (String::new(), "tracer-user --help".to_owned()),
    };
    let mut text = first_paragraphs(&error.to_string());
    if let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidArg) {
        text = text.replace(name, &as_given(name, arguments, environment));
    }
    Stop::Usage(Failure::usage(format!("{place}{text}: try '{help}'")).with_exit(exit))
}

/// An option as it was given: clap names `--limit <N>`, whether `--limit`, `-n` or TRACER_LIMIT was used.
fn as_given(name: &str, arguments: &[OsString], environment: &impl Fn(&OsStr) -> Option<OsString>) -> String {
    let Some(long) = name.strip_prefix("--").and_then(|name| name.split([' ', '=']).next()) else {
        return name.to_owned();
    };
    let words: Vec<&str> = arguments.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let is_long = |word: &&&str| word.strip_prefix("--").and_then(|it| it.split('=').next()) == Some(long);
    if words.iter().any(|word| is_long(&word)) {
        return name.to_owned();
    }
    let short = short_of(&Cli::command(), long).map(|short| format!("-{short}"));
    if let Some(short) = short.filter(|short| words.iter().any(|word| word.starts_with(short.as_str()))) {
        return name.replacen(&format!("--{long}"), &short, 1);
    }
    let variable = variable_of(long);
    if environment(OsStr::new(&variable)).is_some() {
        return format!("{variable} (environment)");
    }
    name.to_owned()
}

/// The short form of an option, in whichever verb has it.
fn short_of(command: &clap::Command, long: &str) -> Option<char> {
    let own = command.get_arguments().find(|arg| arg.get_long() == Some(long)).and_then(clap::Arg::get_short);
    own.or_else(|| command.get_subcommands().find_map(|verb| short_of(verb, long)))
}

/// The environment variable of an option.
fn variable_of(long: &str) -> String {
    format!("TRACER_{}", long.to_uppercase().replace('-', "_"))
}

/// Clap's message on one line, without the usage text.
fn first_paragraphs(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let lines = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(|line| line.trim())
        .filter(|line| !line.is_empty());
    let mut out = String::new();
    for line in lines {
        match out.chars().last() {
            None => {}
            Some(':' | ',') => out.push(' '),
            Some(_) if line.starts_with('[') => out.push(' '),
            Some(_) => out.push_str("; "),
        }
        out.push_str(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str], environment: &[(&str, &str)]) -> Result<Cli, Stop> {
        let words: Vec<OsString> =
            std::iter::once("tracer-user").chain(words.iter().copied()).map(Into::into).collect();
        parse(&words, |name| environment.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
    }

    fn refusal(words: &[&str]) -> Failure {
        match parsed(words, &[]) {
            Err(Stop::Usage(failure)) => failure,
            other => panic!("{words:?} gave {other:?}"),
        }
    }

    #[test]
    fn the_definitions_of_all_verbs_are_valid() {
        command(|_| None).debug_assert();
    }

    #[test]
    fn every_option_is_also_read_from_the_environment() {
        fn walk(command: &clap::Command) {
            for arg in command.get_arguments() {
                let Some(long) = arg.get_long().filter(|long| !matches!(*long, "help" | "version")) else {
                    continue;
                };
                let expected = format!("TRACER_{}", long.to_uppercase().replace('-', "_"));
                if destroys(command.get_name(), long) {
                    assert_eq!(arg.get_env(), None, "--{long}");
                    continue;
                }
                assert_eq!(arg.get_env().and_then(OsStr::to_str), Some(expected.as_str()), "--{long}");
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&command(|_| None));
    }

    #[test]
    fn an_error_is_one_line_that_says_what_to_do() {
        for words in [&["no-such-verb"][..], &["completions", "tcsh-1"], &["man", "--bogus"], &["-x"]] {
            let failure = refusal(words);
            assert_eq!(failure.exit, Exit::Usage);
            assert!(!failure.message.contains('\n'), "{:?}", failure.message);
            assert!(failure.message.contains("try 'tracer-user"), "{:?}", failure.message);
        }
        assert!(refusal(&["man", "--bogus"]).message.contains("'--bogus'"));
        assert!(refusal(&["no-such-verb"]).message.contains("no-such-verb"));
    }

    #[test]
    fn without_a_verb_there_is_help() {
        for words in [&[][..], &["sessions", "export", "--help"], &["help", "run"], &["help"]] {
            match parsed(words, &[]) {
                Err(Stop::NoVerb(text)) => assert!(words.is_empty() && text.contains("Commands:"), "{text}"),
                Err(Stop::Help(text)) => assert!(text.contains("Usage:"), "{words:?}: {text}"),
                other => panic!("{words:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn an_error_names_the_option_as_it_was_given() {
        assert!(refusal(&["sessions", "list", "-n", "x"]).message.contains("for '-n <N>'"));
        assert!(refusal(&["sessions", "list", "--limit", "x"]).message.contains("for '--limit <N>'"));
    }

    #[test]
    fn an_outcome_is_checked() {
        let message = refusal(&["sessions", "list", "--outcome", "hung"]).message;
        assert!(message.contains("'hung'") && message.contains("hang"), "{message}");
    }

    #[test]
    fn run_rejects_its_own_options_with_125() {
        assert_eq!(refusal(&["run", "--bogus"]).exit, Exit::Failed);
        assert_eq!(refusal(&["-v", "run", "--bogus"]).exit, Exit::Failed);
    }
}
