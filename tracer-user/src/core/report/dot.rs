//! The graph for Graphviz.

use super::escape::dot as quoted;
use crate::core::diagnosis::Graph;

/// A digraph: boxes are threads, ellipses resources, red is stuck.
pub fn dot(graph: &Graph) -> String {
    let mut out = String::from("digraph hang {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
    for node in &graph.nodes {
        let shape = if node.kind == "thread" { "box" } else { "ellipse" };
        let colour = match node.state.as_deref() {
            Some("stuck") => "red",
            Some("orphaned") => "orange",
            Some("external") => "blue",
            Some("active" | "soon") => "green",
            _ => "gray",
        };
        out.push_str(&format!(
            "  {} [label={}, shape={shape}, color={colour}];\n",
            quoted(&node.id),
            quoted(&node.label)
        ));
    }
    for edge in &graph.edges {
        let label = format!("{} ({})", edge.op, edge.via);
        out.push_str(&format!(
            "  {} -> {} [label={}];\n",
            quoted(&edge.from),
            quoted(&edge.to),
            quoted(&label)
        ));
    }
    out.push_str("}\n");
    out
}
