//! Golden reports, as files that a reviewer can read, and hostile names in every format.
//!
//! The core reads no environment, so no variable of this project updates them: insta reads `INSTA_UPDATE`.

use super::*;
use crate::core::diagnosis::testkit::*;
use crate::core::evidence::{Access, ByteString};

/// A pytest hang of five processes: the controller waits for a worker that waits for a test's child, whose
/// stdout is not drained.
fn pytest_hang() -> Diagnosis {
    let mut machine = Machine::new();
    machine.get(ROOT).cmdline = Some(["python3", "-m", "pytest", "-q"].map(ByteString::from).to_vec());
    machine.process(101, ROOT, "worker");
    machine.process(102, 101, "child");
    machine.process(103, 102, "helper");
    machine.process(104, ROOT, "sleeper");
    let env =
        [("PYTEST_CURRENT_TEST".to_owned(), ByteString::from("tests/test_pipe.py::test_big_output (call)"))];
    machine.get(102).env = Some(env.into());
    machine.get(103).cmdline =
        Some(["helper", "--api-key", "abc123", "out put"].map(ByteString::from).to_vec());
    machine.full(PIPE);
    machine.fd(101, 7, PIPE, Access::Read);
    machine.fd(102, 1, PIPE, Access::Write);
    machine.fd(103, 1, PIPE, Access::Write);
    machine.wait(ROOT, exit_of(101));
    machine.wait(101, exit_of(102));
    machine.wait(102, exit_of(103));
    machine.wait(103, WRITE_OUT);
    machine.get(103).threads[0].since_boot_ns = Some(958_800_000_000);
    machine.say()
}

fn at_rest() -> Diagnosis {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "sleep");
    machine.wait(ROOT, any_child());
    machine.say()
}

const BRIEF: TextStyle = TextStyle { color: false, verbose: false };

#[test]
fn golden_reports() {
    insta::with_settings!({ snapshot_path => "golden", prepend_module_to_snapshot => false, omit_expression => true }, {
        let hang = pytest_hang();
        insta::assert_snapshot!("hang.txt", text(&hang, BRIEF));
        insta::assert_snapshot!("hang.md", markdown(&hang));
        insta::assert_snapshot!("hang.json", json(&hang).unwrap());
        insta::assert_snapshot!("hang.junit.xml", junit(&hang).unwrap());
        insta::assert_snapshot!("hang.dot", dot(&hang.graph));
        insta::assert_snapshot!("hang.mermaid", mermaid(&hang.graph));
        insta::assert_snapshot!("hang.github", annotations(&hang));
        insta::assert_snapshot!("hang.html", html(&hang));
        insta::assert_snapshot!("rest.txt", text(&at_rest(), BRIEF));
    });
}

#[test]
fn color_is_all_that_color_changes() {
    let hang = pytest_hang();
    let mut plain = String::new();
    let mut rest = text(&hang, TextStyle { color: true, verbose: false });
    while let Some(at) = rest.find('\u{1b}') {
        plain.push_str(&rest[..at]);
        let end = rest[at..].find('m').unwrap() + at + 1;
        rest = rest.split_off(end);
    }
    plain.push_str(&rest);
    assert_eq!(plain, text(&hang, BRIEF));
}

#[test]
fn secrets_do_not_show() {
    let hang = pytest_hang();
    for report in all(&hang) {
        assert!(!report.contains("abc123"), "{report}");
    }
}

const HOSTILE: &[&str] = &[
    "a\n::error::pwned",
    "\u{1b}[2J\u{1b}]0;title\u{7}",
    "</failure><script>alert(1)</script>",
    "`code` **bold** | cell [link](http://x) <img src=x>",
    "\"]; evil -> evil; [label=\"",
    "\"]\nclick n0 href \"http://x\"",
    "]]> & \u{202e}gnol\u{0}",
    "%0A::set-output name=x::y",
];

fn hostile(word: &str) -> Diagnosis {
    let mut machine = Machine::new();
    machine.process(101, ROOT, "child");
    machine.get(101).comm = ByteString::from(word);
    machine.get(101).cmdline = Some(vec![ByteString::from(word), ByteString::from(word)]);
    machine.get(ROOT).env = Some([("PYTEST_CURRENT_TEST".to_owned(), ByteString::from(word))].into());
    machine.full(PIPE);
    machine.fd(ROOT, 3, PIPE, Access::Read);
    machine.fd(101, 1, PIPE, Access::Write);
    machine.wait(ROOT, exit_of(101));
    machine.wait(101, WRITE_OUT);
    machine.0.host.hostname = Some(ByteString::from(word));
    machine.say()
}

fn all(diagnosis: &Diagnosis) -> [String; 8] {
    [
        text(diagnosis, TextStyle { color: false, verbose: true }),
        markdown(diagnosis),
        json(diagnosis).unwrap(),
        junit(diagnosis).unwrap(),
        dot(&diagnosis.graph),
        mermaid(&diagnosis.graph),
        annotations(diagnosis),
        html(diagnosis),
    ]
}

/// Markdown without its code, as CommonMark finds it: an indented block after an empty line, and spans, where
/// a run of backticks ends at the next run of the same length.
fn without_code(markdown: &str) -> String {
    let mut code = false;
    let mut before = "";
    let mut prose = String::new();
    for line in markdown.lines() {
        code = line.starts_with("    ") && (code || before.is_empty());
        before = line;
        if !code {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    let mut out = String::new();
    let mut rest = prose.as_str();
    while let Some(start) = rest.find('`') {
        let run = |text: &str| text.bytes().take_while(|b| *b == b'`').count();
        let fence = run(&rest[start..]);
        if rest[..start].ends_with('\\') {
            out.push_str(&rest[..start + 1]);
            rest = &rest[start + 1..];
            continue;
        }
        out.push_str(&rest[..start]);
        rest = &rest[start + fence..];
        let mut at = 0;
        let mut end = None;
        while let Some(next) = rest[at..].find('`') {
            let length = run(&rest[at + next..]);
            if length == fence {
                end = Some(at + next + length);
                break;
            }
            at += next + length;
        }
        match end {
            Some(end) => rest = &rest[end..],
            None => out.push_str(&"`".repeat(fence)),
        }
    }
    out.push_str(rest);
    out
}

#[test]
fn hostile_names_stay_words_in_every_report() {
    for word in HOSTILE {
        let said = hostile(word);
        assert_eq!(said.verdict, Verdict::Deadlock);
        for report in all(&said) {
            assert!(!report.chars().any(|c| c != '\n' && c.is_control()), "{report:?}");
            assert!(!report.contains('\u{202e}'), "{report:?}");
            assert!(
                !report.lines().any(|l| l.starts_with("::") && !l.starts_with("::error title=deadlock%3A")),
                "{report}"
            );
        }
        let [_, markdown, json, junit, dot, mermaid, annotations, html] = all(&said);
        let outside = without_code(&markdown);
        assert!(!outside.contains("<img") && !outside.contains("<script"), "{markdown}");
        assert!(!outside.contains("**bold**") && !outside.contains("[link]"), "{markdown}");
        assert!(!html.contains("<img") && !html.contains("<script>"), "{html}");
        assert!(!junit.contains("<script"), "{junit}");
        assert_eq!(annotations.lines().count(), 1, "{annotations}");
        // One line for each element: no text escaped from its quotes.
        let things = said.graph.nodes.len() + said.graph.edges.len();
        assert_eq!(dot.lines().count(), things + 4, "{dot}");
        let stuck = said
            .graph
            .nodes
            .iter()
            .filter(|n| n.state == Some(crate::core::diagnosis::NodeState::Stuck))
            .count();
        assert_eq!(mermaid.lines().count(), things + stuck + 4, "{mermaid}");
        let back: Diagnosis = serde_json::from_str(&json).unwrap();
        assert_eq!(back, said);
    }
}

#[test]
fn quoted_text_cannot_end_its_quotes() {
    assert_eq!(escape::dot("a\"b\\"), r#""a\"b\\""#);
    assert_eq!(escape::mermaid("a\"];b"), "\"a#34;#93;#59;b\"");
    assert_eq!(escape::code("a``b`"), "``` a``b` ```");
    assert_eq!(escape::github_property("a:b,c%"), "a%3Ab%2Cc%25");
    assert_eq!(escape::markdown("<b>|*"), "&lt;b&gt;\\|\\*");
}

#[test]
fn foreign_text_is_fenced() {
    assert_eq!(foreign("::error::x", "t0k"), "::stop-commands::t0k\n::error::x\n::t0k::\n");
}
