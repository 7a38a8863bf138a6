//! Pictures: the wait-for graph and the swim lanes, as SVG that needs no script and nothing from elsewhere.
//!
//! Each picture is a `<g>` of a known size. A page puts it into an `<svg>` of its own, and [`picture`] puts
//! both into one file. The same style sheet serves the page and the file, light and dark.

mod graph;
mod lanes;
mod panel;

use super::escape::html as plain;
use super::lanes::Lanes;
use super::{clip, headline};
use crate::core::diagnosis::Diagnosis;
use panel::Panel;

/// The style sheet of pictures and pages.
pub const STYLE: &str = include_str!("style.css");

/// The graph; `None` when nothing waits for anything.
pub fn graph(diagnosis: &Diagnosis) -> Option<Panel> {
    graph::panel(diagnosis)
}

/// The swim lanes of at most `most` processes; `None` when no process is known.
pub fn lanes(lanes: &Lanes, most: usize) -> Option<Panel> {
    lanes::panel(lanes, most)
}

/// Lanes in a picture.
const MOST_LANES: usize = 24;
/// Characters of a line of a picture's sentence.
const LINE_CHARS: usize = 130;

/// A picture of its own: the sentence, the graph and the swim lanes.
pub fn picture(diagnosis: &Diagnosis, session: Option<&Lanes>) -> String {
    let all = session.cloned().unwrap_or_default().with_diagnosis(diagnosis);
    let panels = [graph(diagnosis), lanes(&all, MOST_LANES)];
    let lines = wrapped(&headline(diagnosis), LINE_CHARS);
    let mut y = 20;
    let mut body = String::new();
    let mut width = 7 * LINE_CHARS as i32 + 60;
    for line in &lines {
        body.push_str(&format!("<text class=\"strong\" x=\"12\" y=\"{y}\">{}</text>", plain(line)));
        y += 18;
    }
    for panel in panels.into_iter().flatten() {
        body.push_str(&format!("<g transform=\"translate(4 {y})\">{}</g>", panel.body));
        y += panel.height + 12;
        width = width.max(panel.width + 8);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-labelledby=\"t\" width=\"{width}\" \
         height=\"{y}\" viewBox=\"0 0 {width} {y}\"><title id=\"t\">{}</title><style>{STYLE}</style>\
         <rect class=\"ground\" width=\"100%\" height=\"100%\"/>{body}</svg>\n",
        plain(&headline(diagnosis))
    )
}

/// Lines of at most `most` characters, broken between words.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let word = clip(word, most);
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > most {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
    }
    lines
}
