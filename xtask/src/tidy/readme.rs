//! The README's table of verbs lists the tool's verbs.

use std::collections::BTreeSet;

use super::source::{Problem, Source};

/// Verbs in only one of the two lists. The README's are the first words of the first cells of the table under
/// `## Verbs`.
pub fn verbs(readme: &Source, help: &str) -> Vec<Problem> {
    let (written, real) = (in_readme(&readme.text), in_help(help));
    let problem = |what: String| readme.problem(0, what);
    let missing = real
        .difference(&written)
        .map(|verb| problem(format!("the verb `{verb}` is not in the table of verbs")));
    let invented = written.difference(&real).map(|verb| problem(format!("the tool has no verb `{verb}`")));
    missing.chain(invented).collect()
}

fn in_readme(text: &str) -> BTreeSet<&str> {
    let section = text.split("\n## Verbs\n").nth(1).unwrap_or_default();
    let rows = section
        .lines()
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split('|').next());
    // `completions SHELL`, `man`: several verbs can share a row.
    cells
        .flat_map(|cell| cell.split("`, `"))
        .filter_map(|verb| verb.trim_matches(['`', ' ']).split(' ').next())
        .collect()
}

fn in_help(help: &str) -> BTreeSet<&str> {
    let section = help.split("Commands:\n").nth(1).unwrap_or_default();
    let rows = section.lines().take_while(|line| line.starts_with(' '));
    let named = rows.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    named.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "About.\n\nUsage: x <COMMAND>\n\nCommands:\n  run          Traces\n               and more\n  man          \
                        Manual\n  help         Print\n\nOptions:\n  -h, --help\n";

    #[test]
    fn the_same_verbs_are_no_problem() {
        let text = "# x\n\n## Verbs\n\n| verb | does |\n|---|---|\n| `run [opts] -- CMD` | a |\n| `man` | b |\n\n## More\n| `no` |\n";
        assert_eq!(verbs(&Source { path: "README.md".into(), text: text.into() }, HELP), []);
    }

    #[test]
    fn missing_and_invented_ones_are_named() {
        let text = "\n## Verbs\n| `run`, `fly` | a |\n";
        let found = verbs(&Source { path: "README.md".into(), text: text.into() }, HELP);
        let what: Vec<&str> = found.iter().map(|problem| problem.what.as_str()).collect();
        assert_eq!(what, ["the verb `man` is not in the table of verbs", "the tool has no verb `fly`"]);
    }
}
