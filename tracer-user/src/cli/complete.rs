//! Completion of the command line: the shell asks the tool itself, so sessions, processes and formats are
//! completed as they are at that moment.
//!
//! A generated script that knows only options cannot do that, and bash's does not complete after the verb
//! when the program's name has a hyphen (clap-rs/clap#6421).

use std::ffi::OsStr;

use clap::{Arg, ValueHint};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _};
use clap_complete::env::{CompleteEnv, Shells};

use super::exit::Failure;
use super::report_target::ReportFormat;
use crate::core::redact;
use crate::core::summary::IndexRow;
use crate::core::text::printable;
use crate::session::candidates;

/// The variable by which a completion script asks. Its value is the name of the shell.
const VARIABLE: &str = "_TRACER_USER_COMPLETE";
/// At most this many sessions are offered, the newest.
const MAX_SESSIONS: usize = 100;

/// Answers a completion script, from the command line that `command` makes. `false`: none asks.
///
/// # Errors
/// When the shell is unknown, or standard output cannot be written.
pub fn answer(command: impl Fn() -> clap::Command) -> Result<bool, Failure> {
    let directory = std::env::current_dir().ok();
    CompleteEnv::with_factory(|| with_completers(command()))
        .var(VARIABLE)
        .try_complete(std::env::args_os(), directory.as_deref())
        .map_err(|error| Failure::failed(format!("completions: {error}")))
}

/// Bash splits words at `=` and `:` and replaces only what follows, so its script joins them and cuts them
/// off again. The rest is the protocol of [`clap_complete::env::Bash`].
const BASH: &str = r#"_tracer_user_complete() {
    local words=() index=-1 i word previous=""
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        ((i == COMP_CWORD)) && word=$2
        # Bash gives the sign itself as the current word when nothing follows it.
        [[ $i == "$COMP_CWORD" && ${COMP_WORDS[i]} == [=:] ]] && word=${COMP_WORDS[i]}
        if ((index > 0)) && [[ ${COMP_WORDS[i]} == [=:] || $previous == [=:] ]]; then
            words[index]+=$word
        else
            words[++index]=$word
        fi
        previous=${COMP_WORDS[i]}
    done
    local current=${words[index]} before=""
    [[ $current == *[=:]* ]] && before=${current%"${current##*[=:]}"}
    local IFS=$'\013'
    COMPREPLY=($(_CLAP_IFS="$IFS" _CLAP_COMPLETE_INDEX="$index" VARIABLE=bash tracer-user -- "${words[@]}" 2>/dev/null)) ||
        COMPREPLY=()
    [[ $COMP_WORDBREAKS == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"$before"}")
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=/] ]] || compopt +o nospace 2>/dev/null
}
complete -o nospace -o bashdefault -o nosort -F _tracer_user_complete tracer-user 2>/dev/null ||
    complete -o nospace -o bashdefault -F _tracer_user_complete tracer-user
"#;

/// A file of `$fpath` is itself the function that zsh calls for the first completion.
const ZSH_AUTOLOAD: &str =
    "[[ $funcstack[1] == _tracer-user ]] && _clap_dynamic_completer_tracer_user \"$@\"\n";

/// The script of a shell, which asks the program of the user's search path.
pub fn script(shell: clap_complete::Shell) -> std::io::Result<Vec<u8>> {
    if shell == clap_complete::Shell::Bash {
        return Ok(BASH.replace("VARIABLE", VARIABLE).into_bytes());
    }
    let name = shell.to_string();
    let shells = Shells::builtins();
    let shell =
        shells.completer(&name).ok_or_else(|| std::io::Error::other(format!("no completions for {name}")))?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "tracer-user", "tracer-user", "tracer-user", &mut script)?;
    if name == "zsh" {
        script.extend_from_slice(ZSH_AUTOLOAD.as_bytes());
    }
    Ok(script)
}

/// The command line with the sources of values that are not fixed.
fn with_completers(command: clap::Command) -> clap::Command {
    command.mut_args(with_completer).mut_subcommands(with_completers)
}

/// The source of an argument's values, by the name that the argument has in all verbs.
fn with_completer(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "session" | "sessions" => arg.add(ArgValueCompleter::new(session_names)),
        "pid" | "pids" => arg.add(ArgValueCompleter::new(pids)),
        "targets" => arg.add(ArgValueCompleter::new(report_formats)),
        "command" => arg.value_hint(ValueHint::CommandWithArguments),
        _ => match arg.get_value_names().and_then(|names| names.first()).map(|name| name.as_str()) {
            Some("DIR") => arg.value_hint(ValueHint::DirPath),
            Some("FILE" | "PATH") => arg.value_hint(ValueHint::FilePath),
            _ => arg,
        },
    }
}

fn text(current: &OsStr) -> &str {
    current.to_str().unwrap_or_default()
}

/// Names of finished sessions, the newest first, with their commands.
fn session_names(current: &OsStr) -> Vec<CompletionCandidate> {
    let rows = candidates::finished_sessions();
    let named = rows.iter().filter(|row| row.dir_name.starts_with(text(current))).take(MAX_SESSIONS);
    let candidate = |(order, row): (usize, &IndexRow)| {
        let about = format!("{}: {}", row.subtype, redact::line(&row.command.escaped()));
        CompletionCandidate::new(&row.dir_name).help(Some(printable(about).into())).display_order(Some(order))
    };
    named.enumerate().map(candidate).collect()
}

/// Pids, with the names of the processes.
fn pids(current: &OsStr) -> Vec<CompletionCandidate> {
    let named = candidates::processes().into_iter().map(|(pid, comm)| (pid.to_string(), comm.escaped()));
    named
        .filter(|(pid, _)| pid.starts_with(text(current)))
        .map(|(pid, comm)| CompletionCandidate::new(pid).help(Some(printable(comm).into())))
        .collect()
}

/// `FORMAT=`, and then files.
fn report_formats(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = text(current);
    if let Some((format, path)) = current.split_once('=') {
        let found = PathCompleter::file().complete(OsStr::new(path));
        return found.into_iter().map(|file| file.add_prefix(format!("{format}="))).collect();
    }
    let formats = ReportFormat::all_names();
    let starting = formats.into_iter().filter(|name| name.starts_with(current));
    starting.map(|name| CompletionCandidate::new(format!("{name}="))).collect()
}
