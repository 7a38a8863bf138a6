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
        insta::assert_snapshot!("hang.html", html(&hang, None));
        insta::assert_snapshot!("hang.svg", picture(&hang, None));
        insta::assert_snapshot!("rest.junit.xml", junit(&at_rest()).unwrap());
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

fn all(diagnosis: &Diagnosis) -> [String; 9] {
    [
        text(diagnosis, TextStyle { color: false, verbose: true }),
        markdown(diagnosis),
        json(diagnosis).unwrap(),
        junit(diagnosis).unwrap(),
        dot(&diagnosis.graph),
        mermaid(&diagnosis.graph),
        annotations(diagnosis),
        html(diagnosis, None),
        picture(diagnosis, None),
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
        let [_, markdown, json, junit, dot, mermaid, annotations, html, svg] = all(&said);
        let outside = without_code(&markdown);
        assert!(!outside.contains("<img") && !outside.contains("<script"), "{markdown}");
        assert!(!outside.contains("**bold**") && !outside.contains("[link]"), "{markdown}");
        assert!(!html.contains("<img") && !html.contains("<script>"), "{html}");
        assert!(!svg.contains("<img") && !svg.contains("<script"), "{svg}");
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

/// A job of many processes, each with a full pipe of its own that the root does not read.
fn crowd(count: u32) -> Diagnosis {
    let mut machine = Machine::new();
    for pid in 101..101 + count {
        let pipe = crate::core::evidence::ObjectId::Pipe { ino: 8_000 + u64::from(pid) };
        machine.process(pid, ROOT, "worker");
        machine.full(pipe);
        machine.fd(ROOT, pid, pipe, Access::Read);
        machine.fd(pid, 1, pipe, Access::Write);
        machine.wait(pid, WRITE_OUT);
    }
    machine.wait(ROOT, exit_of(101));
    machine.say()
}

#[test]
fn a_text_report_fits_on_a_screen() {
    for diagnosis in [pytest_hang(), at_rest(), crowd(3), crowd(30), crowd(250), hostile("x")] {
        let report = text(&diagnosis, BRIEF);
        assert!(report.lines().count() <= 30, "{report}");
        assert!(report.contains("verdict: "), "{report}");
    }
    let hang = text(&crowd(250), BRIEF);
    assert!(hang.contains("to cure it") && hang.contains("who waits for what"), "{hang}");
}

#[test]
fn a_graph_of_many_processes_is_joined() {
    let diagnosis = crowd(250);
    assert!(diagnosis.graph.nodes.len() > 200, "{}", diagnosis.graph.nodes.len());
    let drawing = drawing::drawing(&diagnosis);
    assert!(drawing.nodes.len() <= 60, "{}", drawing.nodes.len());
    assert!(drawing.nodes.iter().any(|node| node.title.contains(" × ")), "{:?}", drawing.nodes);
    let page = html(&diagnosis, None);
    assert!(page.contains("<details><summary>200 processes</summary>"), "every lane can be opened");
    assert_eq!(page.matches("<ul").count(), page.matches("</ul>").count());
    assert_eq!(page.matches("<li>").count(), page.matches("</li>").count());
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let page = html(&pytest_hang(), None);
    for word in ["http:", "https:", "<script", "<link", "@import", "url(", " src="] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("name=\"viewport\""));
    assert_eq!(page.matches("role=\"img\" aria-labelledby").count(), 2, "both pictures have a name");
}

#[test]
fn only_a_hang_fails_a_build() {
    let junit_of = |verdict: Verdict| {
        let mut diagnosis = pytest_hang();
        diagnosis.verdict = verdict;
        diagnosis.findings[0].verdict = verdict;
        junit(&diagnosis).unwrap()
    };
    for verdict in [Verdict::Deadlock, Verdict::OrphanedWait, Verdict::Livelock] {
        assert!(junit_of(verdict).contains("failures=\"1\""), "{verdict:?}");
    }
    for verdict in [Verdict::Unknown, Verdict::External] {
        let report = junit_of(verdict);
        assert!(report.contains("failures=\"0\"") && report.contains("<skipped message="), "{report}");
    }
    for verdict in [Verdict::Idle, Verdict::NotHung] {
        let report = junit_of(verdict);
        assert!(!report.contains("<failure") && !report.contains("<skipped "), "{report}");
        assert!(report.contains("<testcase name=\""), "{report}");
    }
}

#[test]
fn a_section_of_a_page_is_found_and_replaced_in_place() {
    let first = section(&pytest_hang(), "ci-1.1");
    let page = format!("before\n{}after\n{}", first, section(&at_rest(), "ci-1.2"));
    let (from, length) = section_in(page.as_bytes(), "ci-1.1").unwrap();
    assert_eq!(&page[from..from + length], first);
    assert_eq!(section(&crowd(3), "ci-1.1").len(), length, "a later state fits in");
    assert_eq!(section_in(page.as_bytes(), "ci-1.3"), None);
    for word in HOSTILE.iter().copied().chain(["<!-- end of tracer-user ci-1.1 -->"]) {
        let hostile = section(&hostile(word), "ci-1.1");
        assert_eq!(section_in(hostile.as_bytes(), "ci-1.1"), Some((0, hostile.len())));
    }
}

#[test]
fn lanes_show_a_trace_and_what_a_diagnosis_saw() {
    let lines = [
        r#"{"v":1,"kind":"fork","seq":1,"ts":"","boot_ns":1000000000,"pid":100,"start_ticks":100,"origin":"root","parent":null,"parent_tid":null,"start_boottime_ns":1000000000,"pidns_ino":null,"ns_pid":null,"pidfd_ino":null,"comm":"sh"}"#,
        r#"{"v":1,"kind":"fork","seq":2,"ts":"","boot_ns":2000000000,"pid":101,"start_ticks":200,"origin":"fork","parent":{"pid":100,"start_ticks":100},"parent_tid":100,"start_boottime_ns":2000000000,"pidns_ino":null,"ns_pid":null,"pidfd_ino":null,"comm":"sh"}"#,
        r#"{"v":1,"kind":"exec","seq":3,"ts":"","boot_ns":2100000000,"pid":101,"start_ticks":200,"by_thread":null,"comm":"yes","filename":"/usr/bin/yes"}"#,
        r#"{"v":1,"kind":"stall","seq":4,"ts":"","boot_ns":4000000000,"pid":101,"start_ticks":200,"phase":"open","tid":101,"comm":"yes","since_boot_ns":3000000000,"length_ns":1000000000,"fd":1,"syscall":1,"resource":"pipe","inode":7,"device":null,"socket_family":null,"socket_type":null,"slots_used":16,"slots":16,"used_bytes":65536,"capacity_bytes":65536,"readers":1,"writers":1}"#,
        r#"{"v":1,"kind":"exit","seq":5,"ts":"","boot_ns":6000000000,"pid":101,"start_ticks":200,"status":9,"exit_code":null,"signal":"SIGKILL","core_dumped":false,"parent":null,"reaper_pid":null,"killer":null,"oom_victim":null,"cpu_ns":null,"comm":"yes","source":"kernel"}"#,
    ];
    let lines: Vec<_> =
        lines.iter().map(|line| crate::core::record::Line::parse(line.as_bytes()).unwrap()).collect();
    let lanes = Lanes::from_trace(&lines);
    let picked: Vec<(usize, &str)> =
        lanes.pick(10).iter().map(|(depth, lane)| (*depth, lane.name.as_str())).collect();
    assert_eq!(picked, [(0, "sh"), (1, "yes")]);
    let yes = &lanes.lanes[1];
    assert_eq!(yes.spans[0].to_boot_ns, Some(6_000_000_000), "a blocked write ends with its process");
    assert_eq!(yes.end.as_ref().map(|end| (end.how.as_str(), end.failed)), Some(("SIGKILL", true)));
    assert_eq!(lanes.range(), (1_000_000_000, 6_000_000_000));
    let page = html(&at_rest(), Some(&lanes));
    assert!(
        page.contains(">SIGKILL</text>") && page.contains("blocked writing to pipe:[7] (fd 1)"),
        "{page}"
    );
    let trace = perfetto(&at_rest(), Some(&lanes));
    let has = |word: &str| trace.windows(word.len()).any(|part| part == word.as_bytes());
    assert!(has("yes (SIGKILL)") && has("bytes in pipe:[7]"));
}

#[test]
fn lanes_of_a_long_session_stay_bounded() {
    let mut lanes = Lanes::default();
    for pid in 1..20_000_u32 {
        let fork = format!(
            r#"{{"v":1,"kind":"fork","seq":1,"ts":"","boot_ns":{pid}000,"pid":{pid},"start_ticks":{pid},"origin":"fork","parent":null,"parent_tid":null,"start_boottime_ns":null,"pidns_ino":null,"ns_pid":null,"pidfd_ino":null,"comm":"true"}}"#
        );
        let exit = format!(
            r#"{{"v":1,"kind":"exit","seq":2,"ts":"","boot_ns":{pid}500,"pid":{pid},"start_ticks":{pid},"status":256,"exit_code":{},"signal":null,"core_dumped":null,"parent":null,"reaper_pid":null,"killer":null,"oom_victim":null,"cpu_ns":null,"comm":"true","source":"kernel"}}"#,
            u32::from(pid == 1)
        );
        lanes.observe(&crate::core::record::Line::parse(fork.as_bytes()).unwrap());
        lanes.observe(&crate::core::record::Line::parse(exit.as_bytes()).unwrap());
    }
    assert!(lanes.lanes.len() <= 4_000);
    assert_eq!(lanes.lanes.len() + lanes.omitted, 19_999);
    assert_eq!(lanes.lanes[0].process.pid, 1, "a process that failed is kept");
}
