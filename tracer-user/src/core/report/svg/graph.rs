//! The wait-for graph as a picture: boxes lead down to what they wait for, a cycle leads back up.

use super::panel::Panel;
use crate::core::diagnosis::{Diagnosis, NodeKind, NodeState};
use crate::core::report::drawing::{Drawing, Link, Shown, drawing};
use crate::core::report::escape::html as plain;
use crate::core::report::layout::{Layout, NODE_HEIGHT, NODE_WIDTH, Route, layered};

/// Labels of edges that lead to the same node.
const MOST_LABELS: usize = 3;
/// Pixels of a character of a label.
const CHAR: i32 = 7;

/// The graph; `None` when nothing waits for anything.
pub fn panel(diagnosis: &Diagnosis) -> Option<Panel> {
    let drawing = drawing(diagnosis);
    if drawing.links.is_empty() {
        return None;
    }
    let pairs: Vec<(usize, usize)> = drawing.links.iter().map(|link| (link.from, link.to)).collect();
    let layout = layered(drawing.nodes.len(), &pairs);
    let mut body = String::new();
    for (link, route) in drawing.links.iter().zip(&layout.edges) {
        edge(&mut body, link, route);
    }
    for (node, place) in drawing.nodes.iter().zip(&layout.nodes) {
        shown(&mut body, node, *place);
    }
    // Labels lie over all lines.
    for (link, route) in drawing.links.iter().zip(&layout.edges) {
        // Where many lines meet, their labels would cover each other.
        let beside = drawing.links.iter().filter(|other| other.to == link.to).count();
        if link.in_cycle || beside <= MOST_LABELS {
            label(&mut body, link, route);
        }
    }
    let mut height = layout.height;
    if drawing.left_out > 0 {
        height += 18;
        body.push_str(&format!(
            "<text class=\"muted\" x=\"8\" y=\"{}\">and {} more that wait</text>",
            height - 6,
            drawing.left_out
        ));
    }
    Some(Panel { title: title(&drawing), width: width(&drawing, &layout), height, body })
}

fn title(drawing: &Drawing) -> String {
    let cycle = if drawing.links.iter().any(|link| link.in_cycle) { ", with a cycle" } else { "" };
    let link = |link: &Link| {
        format!("{}: {}: {}", drawing.nodes[link.from].title, link.words, drawing.nodes[link.to].title)
    };
    let links: Vec<String> = drawing.links.iter().take(12).map(link).collect();
    format!("Wait-for graph{cycle}. {}.", links.join(". "))
}

/// The labels of edges that lead back stand at the right of all.
fn width(drawing: &Drawing, layout: &Layout) -> i32 {
    let ends = drawing.links.iter().zip(&layout.edges).map(|(link, route)| {
        let (x, _) = label_place(route);
        x + link.words.chars().count() as i32 * CHAR + 8
    });
    ends.max().unwrap_or(0).max(layout.width)
}

fn edge(out: &mut String, link: &Link, route: &Route) {
    let class = if link.in_cycle { "link cycle" } else { "link" };
    let Some(((x, y), rest)) = route.points.split_first() else { return };
    let mut path = format!("M{x} {y}");
    let (mut at_x, mut at_y) = (*x, *y);
    for (x, y) in rest {
        match route.back {
            true => path.push_str(&format!("L{x} {y}")),
            false => {
                let half = (y - at_y) / 2;
                path.push_str(&format!("C{at_x} {} {x} {} {x} {y}", at_y + half, y - half));
            }
        }
        (at_x, at_y) = (*x, *y);
    }
    // The arrow's head: a marker would need an id, which must be unique in a page.
    let head = match route.back {
        true => format!("{at_x},{at_y} {0},{1} {0},{2}", at_x + 9, at_y - 5, at_y + 5),
        false => format!("{at_x},{at_y} {0},{2} {1},{2}", at_x - 5, at_x + 5, at_y - 9),
    };
    let head_class = if link.in_cycle { "cycle-head" } else { "head" };
    out.push_str(&format!(
        "<path class=\"{class}\" d=\"{path}\"/><polygon class=\"{head_class}\" points=\"{head}\"/>"
    ));
}

fn label_place(route: &Route) -> (i32, i32) {
    match route.points.as_slice() {
        [_, (x, y), (_, end), ..] if route.back => (x + 6, (y + end) / 2),
        [(x, y), (to_x, to_y), ..] => ((x + to_x) / 2 + 8, (y + to_y) / 2 + 4),
        _ => (0, 0),
    }
}

fn label(out: &mut String, link: &Link, route: &Route) {
    let (x, y) = label_place(route);
    out.push_str(&format!("<text class=\"small halo\" x=\"{x}\" y=\"{y}\">{}</text>", plain(&link.words)));
}

fn shown(out: &mut String, node: &Shown, (x, y): (i32, i32)) {
    let state = match node.state {
        Some(NodeState::Stuck) => " stuck",
        Some(NodeState::Orphaned) => " orphaned",
        Some(NodeState::External) => " external",
        Some(NodeState::Active | NodeState::Soon) => " active",
        _ => "",
    };
    let (kind, round) = match node.kind {
        NodeKind::Thread => ("", 4),
        NodeKind::Resource => (" resource", NODE_HEIGHT / 2),
        NodeKind::Outside => (" external", NODE_HEIGHT / 2),
    };
    let middle = x + NODE_WIDTH / 2;
    out.push_str(&format!(
        "<g class=\"node{kind}{state}\"><rect x=\"{x}\" y=\"{y}\" width=\"{NODE_WIDTH}\" height=\"{NODE_HEIGHT}\" rx=\"{round}\"/>"
    ));
    let first = if node.words.is_empty() { y + 28 } else { y + 19 };
    out.push_str(&format!(
        "<text class=\"strong\" text-anchor=\"middle\" x=\"{middle}\" y=\"{first}\">{}</text>",
        plain(&node.title)
    ));
    if !node.words.is_empty() {
        out.push_str(&format!(
            "<text class=\"small\" text-anchor=\"middle\" x=\"{middle}\" y=\"{}\">{}</text>",
            y + 36,
            plain(&node.words)
        ));
    }
    out.push_str("</g>");
}
