//! What a manual page says about a verb beside its options: exit statuses and examples.

/// The notes of a verb or of a sub-command.
pub struct VerbNotes {
    /// The words after the program's name.
    pub verb: &'static str,
    /// Exit statuses and their meanings.
    pub exit: &'static [(&'static str, &'static str)],
    /// Command lines and what they do.
    pub examples: &'static [(&'static str, &'static str)],
}

type Rows = &'static [(&'static str, &'static str)];

/// Statuses of verbs that only report.
const PLAIN: Rows = &[("0", "Done."), ("2", "The command line is invalid."), ("125", "The tool failed.")];

/// Every verb, and every sub-command of one.
pub const VERB_NOTES: &[VerbNotes] = &[
    VerbNotes {
        verb: "run",
        exit: &[
            ("0-255", "The exit status of the job, or 128 and the number of the signal that ended it."),
            ("1", "With --fail-on-leak also: the job exited with 0, and processes outlived it."),
            ("124", "The job was ended by --timeout or --max-idle, or for a hang with --on-hang interrupt."),
            ("125", "The tool failed, or the command line is invalid."),
            ("126", "The job's program exists and cannot be executed."),
            ("127", "The job's program was not found."),
        ],
        examples: &[
            (
                "tracer-user run -- make test",
                "Trace a job and report a hang after a minute without progress.",
            ),
            (
                "tracer-user run --timeout 30m --on-hang interrupt --report markdown=hang.md -- pytest -n 4",
                "End a job that hangs, and keep the report as a file.",
            ),
        ],
    },
    VerbNotes {
        verb: "attach",
        exit: &[
            ("0", "The processes ended, or a signal or --timeout ended the tracing of them."),
            ("2", "The command line is invalid."),
            ("125", "The tool failed: for example, a process does not exist."),
        ],
        examples: &[
            ("tracer-user attach --hang-after 30s 4711", "Watch a process tree that runs already."),
            (
                "tracer-user attach --job --report markdown=hang.md",
                "Watch a CI job from beside, in the background.",
            ),
        ],
    },
    VerbNotes {
        verb: "diagnose",
        exit: &[
            ("0", "Nothing hangs."),
            ("1", "A hang is reported."),
            ("2", "The command line is invalid."),
            ("3", "What decides could not be seen."),
            ("125", "The tool failed: for example, the process does not exist."),
        ],
        examples: &[
            ("tracer-user diagnose --pid 4711", "Explain what a process and its descendants wait for."),
            ("tracer-user diagnose --all --format json", "Inspect the whole machine, for a program."),
        ],
    },
    VerbNotes {
        verb: "holders",
        exit: &[
            ("0", "Nothing but the process itself holds it."),
            ("1", "Other processes hold it, and are listed."),
            ("2", "The command line is invalid."),
            ("125", "The tool failed: for example, there is no such descriptor."),
        ],
        examples: &[
            (
                "tracer-user holders --pid 4711 --fd 1",
                "Who has the other end of a process's standard output?",
            ),
            ("tracer-user holders --port 8080", "Who holds a port?"),
            ("tracer-user holders --path /run/app.sock", "Who has a file, a FIFO or a socket open?"),
        ],
    },
    VerbNotes {
        verb: "preflight",
        exit: &[
            ("0", "Clean, or a baseline was written."),
            ("1", "Something is left, in use or unknown."),
            ("2", "The command line is invalid."),
            ("125", "The tool failed."),
        ],
        examples: &[(
            "tracer-user preflight --port 5432,8080 --socket /tmp/app-*.sock",
            "Before a run: is anything of earlier runs in its way?",
        )],
    },
    VerbNotes {
        verb: "reap",
        exit: &[
            ("0", "None of the selected processes is left."),
            ("1", "A process survived, or the plan was only shown."),
            ("2", "The command line is invalid."),
            ("125", "The tool failed."),
        ],
        examples: &[
            ("tracer-user reap --port 8080", "Show what would be ended, and the proof that it is yours."),
            ("tracer-user reap --port 8080 --yes", "End it."),
        ],
    },
    VerbNotes {
        verb: "doctor",
        exit: &[
            ("0", "Everything works on this machine."),
            ("1", "Something is lost. The report says what, and what to do."),
            ("2", "The tool does not work on this machine, or the command line is invalid."),
        ],
        examples: &[("tracer-user doctor", "Check this machine.")],
    },
    VerbNotes {
        verb: "watch",
        exit: PLAIN,
        examples: &[
            ("tracer-user watch 4711", "Draw once a second what each process of a tree waits for."),
            ("tracer-user watch --once 4711", "Print it once."),
        ],
    },
    VerbNotes {
        verb: "recover",
        exit: &[
            ("0", "Every session that could be finished was finished."),
            ("2", "The command line is invalid."),
            ("125", "A session could not be finished, or the tool failed."),
        ],
        examples: &[
            ("tracer-user recover --dry-run", "Which sessions lost their tracer, and what would be done?"),
            ("tracer-user recover --adopt", "Finish them, and trace those whose job still runs."),
        ],
    },
    VerbNotes {
        verb: "sessions",
        exit: PLAIN,
        examples: &[
            ("tracer-user sessions", "The sessions of today."),
            ("tracer-user sessions show last", "The newest one."),
        ],
    },
    VerbNotes {
        verb: "sessions list",
        exit: PLAIN,
        examples: &[
            ("tracer-user sessions list --since yesterday --outcome hang", "Which jobs hung?"),
            (
                "tracer-user sessions list --label branch=main -n 20",
                "The newest 20 sessions with this label.",
            ),
        ],
    },
    VerbNotes {
        verb: "sessions show",
        exit: PLAIN,
        examples: &[
            ("tracer-user sessions show ci-42", "A session whose name begins with ci-42."),
            ("tracer-user sessions show ./export.json", "An exported session of another machine."),
        ],
    },
    VerbNotes {
        verb: "sessions export",
        exit: PLAIN,
        examples: &[("tracer-user sessions export last", "The newest session as one JSON document.")],
    },
    VerbNotes {
        verb: "sessions attach",
        exit: &[
            ("0", "The files are attached."),
            ("2", "The command line is invalid."),
            ("125", "A file could not be attached, or the tool failed."),
        ],
        examples: &[(
            "tracer-user sessions attach last junit.xml",
            "Keep a file of the run with its session.",
        )],
    },
    VerbNotes {
        verb: "sessions protect",
        exit: PLAIN,
        examples: &[("tracer-user sessions protect ci-42", "Never remove this session to make room.")],
    },
    VerbNotes {
        verb: "sessions clear",
        exit: PLAIN,
        examples: &[("tracer-user sessions clear", "Hide all present sessions, and keep them.")],
    },
    VerbNotes {
        verb: "sessions prune",
        exit: PLAIN,
        examples: &[
            ("tracer-user sessions prune --older-than 30d --dry-run", "What is older than 30 days?"),
            ("tracer-user sessions prune --keep 100 --size 200MiB", "Remove the oldest beyond these limits."),
        ],
    },
    VerbNotes {
        verb: "schema",
        exit: PLAIN,
        examples: &[(
            "tracer-user schema preflight",
            "The JSON schema of what preflight --format json prints.",
        )],
    },
    VerbNotes {
        verb: "completions",
        exit: PLAIN,
        examples: &[
            ("tracer-user completions bash", "Save it as /etc/bash_completion.d/tracer-user, or source it."),
            ("tracer-user completions zsh", "Save it as _tracer-user in a directory of $fpath."),
            ("tracer-user completions fish", "Save it as ~/.config/fish/completions/tracer-user.fish."),
        ],
    },
    VerbNotes {
        verb: "man",
        exit: PLAIN,
        examples: &[
            ("tracer-user man run", "The page of a verb, for `man -l -`."),
            ("tracer-user man --dir /usr/local/share/man/man1", "Install all pages."),
        ],
    },
];

/// The notes of a verb, by the words after the program's name.
pub fn of(verb: &str) -> Option<&'static VerbNotes> {
    VERB_NOTES.iter().find(|notes| notes.verb == verb)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn verbs(command: &clap::Command, before: &str, all: &mut Vec<String>) {
        for verb in command.get_subcommands().filter(|it| it.get_name() != "help" && !it.is_hide_set()) {
            let words = format!("{before} {}", verb.get_name()).trim().to_owned();
            verbs(verb, &words, all);
            all.push(words);
        }
    }

    #[test]
    fn every_verb_has_notes_and_every_note_a_verb() {
        let mut all = Vec::new();
        verbs(&parse::command(|_| None), "", &mut all);
        let mut noted: Vec<_> = VERB_NOTES.iter().map(|notes| notes.verb.to_owned()).collect();
        all.sort();
        noted.sort();
        assert_eq!(all, noted);
    }

    #[test]
    fn every_example_is_a_valid_command_line_of_its_verb() {
        for notes in VERB_NOTES {
            assert!(!notes.exit.is_empty() && !notes.examples.is_empty(), "{}", notes.verb);
            for (example, _) in notes.examples {
                let words: Vec<_> = example.split(' ').map(Into::into).collect();
                assert!(parse::parse(&words, |_| None).is_ok(), "{example}");
                assert!(example.starts_with(&format!("tracer-user {}", notes.verb)), "{example}");
            }
        }
    }
}
